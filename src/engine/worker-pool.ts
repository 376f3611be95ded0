import { workerLostError } from './job-errors.ts';
import type { PoolJob } from './pool-job.ts';
import { shareOut } from './share-out.ts';
import { isRefused, warnOfFewThreads } from './thread-limits.ts';
import { WorkerThread } from './worker-thread.ts';

/** What a balancer is to the pool. */
export interface PoolMember {
  /** Threads that one of its jobs may have. */
  readonly maxThreads: number;
  /** Threads that were started for its jobs, and tasks that threads were woken for. */
  workersStarted: number;
  workersWoken: number;
}

/** A job in the pool, and whose it is. */
interface PooledJob {
  readonly job: PoolJob;
  readonly member: PoolMember;
}

/**
 * The worker threads of one JavaScript thread, for the jobs of all its balancers. It has at most as many as
 * the balancer has that may have most, starts them when a job is worth more than there are idle, and ends
 * them with the last balancer.
 */
export class WorkerPool {
  readonly #members = new Set<PoolMember>();
  readonly #threads = new Set<WorkerThread>();
  /** The one that worked last comes first: its caches are warm. */
  readonly #idle: WorkerThread[] = [];
  /** Starts of threads that are not ready yet; the threads, as far as there are any. */
  readonly #starting = new Set<Promise<void>>();
  readonly #booting = new Set<WorkerThread>();
  /** Ends of threads that have not ended yet. */
  readonly #ending = new Set<Promise<void>>();
  readonly #jobs: PooledJob[] = [];
  /** So many threads there were when another one could not be had; until one ends, no more are tried. */
  #mostToBeHad = Number.POSITIVE_INFINITY;
  #sliceTimer: NodeJS.Timeout | undefined;

  get hasMembers(): boolean {
    return this.#members.size > 0;
  }

  join(member: PoolMember): void {
    this.#members.add(member);
  }

  /** Lets go of a balancer, whose jobs are done; with the last one, of all threads, when they have ended. */
  async leave(member: PoolMember, placeId: number): Promise<void> {
    if (!this.#members.delete(member)) return;
    for (const thread of this.#threads) thread.forget(placeId);
    const surplus = this.#idle.slice(0, Math.max(0, this.#threads.size - this.#maxThreads));
    await Promise.all(surplus.map((thread) => this.#end(thread)));
    if (this.hasMembers) return;
    for (const thread of [...this.#threads, ...this.#booting]) void this.#end(thread);
    await Promise.all(this.#starting);
    await Promise.all(this.#ending);
  }

  /** Has threads work on a job until it is settled. */
  add(job: PoolJob, member: PoolMember): void {
    const pooled = { job, member };
    this.#jobs.push(pooled);
    const remove = () => {
      this.#jobs.splice(this.#jobs.indexOf(pooled), 1);
      this.#assign();
    };
    job.result.then(remove, remove);
    // All that it is worth, before the first of them has made it worth less.
    for (let left = job.numWorthwhile; left > 0 && this.#wakeOne(pooled); left--);
    this.#assign();
  }

  /**
   * Starts threads until there are so many for a balancer, or as many as can be had, and waits until all are
   * ready.
   */
  async start(numThreads: number, member: PoolMember): Promise<void> {
    const wanted = Math.min(numThreads, this.#maxThreads);
    this.#mostToBeHad = Number.POSITIVE_INFINITY;
    // Some may have died without a word.
    await Promise.all(this.#idle.splice(0).map((thread) => this.#look(thread)));
    let lost: unknown;
    // Once more where some end before they are ready.
    for (let attempt = 0; attempt < 2; attempt++) {
      while (this.#threads.size + this.#starting.size < wanted) {
        void this.#startOne(member, (reason) => {
          lost = reason;
        });
      }
      await Promise.all(this.#starting);
      if (this.#threads.size >= Math.min(wanted, this.#mostToBeHad)) return;
    }
    throw workerLostError(lost);
  }

  async #look(thread: WorkerThread): Promise<void> {
    await thread.run({ kind: 'start' }).catch(() => {});
    this.#release(thread);
  }

  get #maxThreads(): number {
    return Math.max(0, ...[...this.#members].map(({ maxThreads }) => maxThreads));
  }

  /** Gives what is idle to the jobs that want it, the one with the fewest first, and gets more if they do. */
  #assign(): void {
    for (;;) {
      const pooled = this.#neediest();
      if (pooled === undefined) return;
      if (this.#wakeOne(pooled)) continue;
      const most = Math.min(this.#maxThreads, this.#mostToBeHad);
      const mayStart = pooled.job.mayStartThreads || this.#threads.size === 0;
      if (mayStart && this.#threads.size + this.#starting.size < most) this.#startMore(pooled);
      else this.#shareOut();
      return;
    }
  }

  #neediest(): PooledJob | undefined {
    const wanting = this.#jobs.filter(({ job }) => job.numWorkers < job.numWorthwhile);
    // Of those that have none, the one that had one longest ago.
    wanting.sort(({ job: a }, { job: b }) => a.numWorkers - b.numWorkers || a.heldSince - b.heldSince);
    return wanting[0];
  }

  /** @returns false when no thread is idle */
  #wakeOne({ job, member }: PooledJob): boolean {
    const thread = this.#popIdle();
    if (thread === undefined) return false;
    member.workersWoken++;
    void job.run(thread, () => this.#hasOther(thread)).then(() => this.#release(thread));
    return true;
  }

  #popIdle(): WorkerThread | undefined {
    for (;;) {
      const thread = this.#idle.pop();
      if (thread === undefined || thread.isAlive) return thread;
      void this.#end(thread);
    }
  }

  #release(thread: WorkerThread): void {
    if (!thread.isAlive || this.#threads.size > this.#maxThreads) void this.#end(thread);
    else this.#idle.push(thread);
    this.#assign();
  }

  /**
   * Starts threads for jobs that want more than there are: no more at a time than are there already, as a
   * job may be done before they are ready, and each takes the host's thread a millisecond.
   */
  #startMore({ member, job }: PooledJob): void {
    const wanted = this.#jobs.reduce(
      (sum, { job: other }) => sum + Math.max(0, other.numWorthwhile - other.numWorkers),
      0,
    );
    const free = Math.min(this.#maxThreads, this.#mostToBeHad) - this.#threads.size;
    const most = Math.min(wanted, free, Math.max(1, this.#threads.size));
    const failed = (reason: unknown) => job.startFailed(reason, this.#hasOther());
    while (this.#starting.size < most) void this.#startOne(member, failed);
  }

  /** Whether there are threads that a job can wait for, beside this one. */
  #hasOther(thread?: WorkerThread): boolean {
    return [...this.#threads].some((other) => other !== thread && other.isAlive);
  }

  /** Resolves when the thread is ready, or has ended before that. */
  #startOne(member: PoolMember, onFailure: (reason: unknown) => void): Promise<void> {
    member.workersStarted++;
    const start = this.#startThread(onFailure).finally(() => {
      this.#starting.delete(start);
      this.#assign();
    });
    this.#starting.add(start);
    return start;
  }

  async #startThread(onFailure: (reason: unknown) => void): Promise<void> {
    let thread: WorkerThread | undefined;
    try {
      thread = await WorkerThread.start();
      this.#booting.add(thread);
      await thread.run({ kind: 'start' });
    } catch (reason) {
      if (thread !== undefined) await this.#end(thread);
      const numThreads = this.#threads.size + this.#booting.size;
      // Jobs share what there is.
      if (isRefused(reason) && numThreads > 0) {
        this.#mostToBeHad = numThreads;
        warnOfFewThreads(numThreads, this.#maxThreads, reason);
      } else onFailure(reason);
      return;
    }
    this.#booting.delete(thread);
    // The balancer that was to have it may be closed.
    if (this.#threads.size >= this.#maxThreads) return this.#end(thread);
    this.#threads.add(thread);
    this.#idle.push(thread);
  }

  async #end(thread: WorkerThread): Promise<void> {
    this.#mostToBeHad = Number.POSITIVE_INFINITY;
    this.#threads.delete(thread);
    this.#booting.delete(thread);
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
    const end = thread.end();
    this.#ending.add(end);
    await end;
    this.#ending.delete(end);
  }

  /** Has jobs give threads back for those that have fewer. */
  #shareOut(): void {
    const waitMs = shareOut(this.#jobs.map(({ job }) => job));
    if (waitMs === undefined || this.#sliceTimer !== undefined) return;
    this.#sliceTimer = setTimeout(() => {
      this.#sliceTimer = undefined;
      this.#assign();
    }, waitMs).unref();
  }
}

let shared: WorkerPool | undefined;

/** The pool of the calling thread. */
export function sharedPool(): WorkerPool {
  shared ??= new WorkerPool();
  return shared;
}

/** A job, as far as it shares threads with others. */
export interface SharingJob {
  /** Threads that it has, and those of them that were not asked to leave. */
  readonly numWorkers: number;
  readonly numStaying: number;
  /** Threads that it is worth; no more than it has when it wants none. */
  readonly numWorthwhile: number;
  /** When it got a thread after it had none, by performance.now(). */
  readonly heldSince: number;
  /** Asks one to leave. */
  giveBackOne(): void;
}

/**
 * How long a job keeps its only thread while another one has none: a plan of the default policy is done by
 * then, and a change of job costs some hundredths of it.
 */
const SLICE_MS = 10;

/** A job, and the threads that it will have. */
interface Share {
  readonly job: SharingJob;
  threads: number;
}

/**
 * Has jobs that have more threads give some back for jobs that want more, where all threads are in use: until
 * none of those has two fewer than another job. A job that has only one gives it to one that has none when it
 * had it for a while.
 *
 * @returns when to look again for that, in milliseconds from now; undefined when there is no need
 */
export function shareOut(jobs: readonly SharingJob[]): number | undefined {
  const shares = jobs.map((job): Share => ({ job, threads: job.numStaying }));
  const wanting = shares.filter(({ job }) => job.numWorthwhile > job.numWorkers);
  // Those that leave already come to the ones with the fewest.
  let numLeaving = jobs.reduce((sum, { numWorkers, numStaying }) => sum + numWorkers - numStaying, 0);
  for (;;) {
    const poorest = least(wanting, ({ job, threads }) => (threads < job.numWorthwhile ? threads : Infinity));
    if (poorest === undefined) return undefined;
    if (numLeaving > 0) {
      numLeaving--;
      poorest.threads++;
      continue;
    }
    const richest = least(shares, ({ job }) => -job.numStaying);
    if (richest === undefined || richest === poorest) return undefined;
    const difference = richest.job.numStaying - poorest.threads;
    if (difference < 1 || (difference === 1 && poorest.threads > 0)) return undefined;
    const waitMs = difference === 1 ? richest.job.heldSince + SLICE_MS - performance.now() : 0;
    if (waitMs > 0) return waitMs;
    richest.job.giveBackOne();
    poorest.threads++;
  }
}

/** The first share of which the value is least; none where it is infinite for all. */
function least(shares: readonly Share[], worthOf: (share: Share) => number): Share | undefined {
  let found: Share | undefined;
  for (const share of shares) {
    const worth = worthOf(share);
    if (worth < (found === undefined ? Number.POSITIVE_INFINITY : worthOf(found))) found = share;
  }
  return found;
}

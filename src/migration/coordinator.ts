import { checkAtLeast, checkObject } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import { MAX_DELAY_MS } from '../core/timers.ts';
import { CoordinatorMachine } from './coordinator-machine.ts';
import type { CoordinatorMachineOptions } from './coordinator-options.ts';
import type {
  CoordinatorOutput,
  MigrationEvent,
  MigrationView,
  OfferAnswer,
  RequestAnswer,
} from './coordinator-output.ts';
import type { MigrationJournal } from './journal.ts';
import type { MigrationTarget, OperationOutcome } from './outcome.ts';
import type { CoordinatorTransport } from './transport.ts';

/** A group's coordinator: its journal, its links and its times. */
export interface MigrationCoordinatorOptions extends CoordinatorMachineOptions {
  readonly journal: MigrationJournal;
  readonly transport: CoordinatorTransport;
  /** What happens, once it is durable. */
  readonly onEvent?: (event: MigrationEvent) => void;
  /**
   * What a message that is none, a send that failed or a listener that threw comes to; and, as the last, what
   * stopped the coordinator. A warning of the process by default.
   */
  readonly onError?: (error: unknown) => void;
  /** Milliseconds that only grow; `performance.now()` by default. */
  readonly clock?: () => number;
  /** After how many records the journal is replaced by one, between two operations. 1,000 by default. */
  readonly compactAfter?: number;
}

interface Waiting {
  readonly resolve: (outcome: OperationOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Brings a group of ranks from one mapping to the next: all layers of an operation change at one step, or
 * none. It connects a {@link CoordinatorMachine} to a journal, a transport and timers. Inputs are processed
 * one after the other. The results of an input are durable before any of them is sent or reported.
 *
 * If the journal fails, it stops: every call is rejected with `EPLB_CLOSED`. A new coordinator that is opened
 * on the journal continues from there.
 * @example
 * ```ts
 * const coordinator = await MigrationCoordinator.open({
 *   ...{ numRanks: 32, numLayers: 58, digest: mapping.digest() },
 *   ...{ journal: new FileJournal('state/migration.journal'), transport },
 * });
 * const outcome = await coordinator.migrate({ operationId: 'plan-7', digest, layers: [3, 17] });
 * ```
 */
export class MigrationCoordinator {
  readonly #machine: CoordinatorMachine;
  readonly #options: MigrationCoordinatorOptions;
  readonly #clock: () => number;
  readonly #compactAfter: number;
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #stopListening: () => void;
  #numRecords: number;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed: EplbError | undefined;

  /**
   * Reads the journal and goes on from it: an operation under way is asked for again.
   *
   * @throws EplbTypeError, EplbRangeError for wrong options; what the journal is rejected with; `EPLB_FORMAT`
   *   or `EPLB_SHAPE` for a journal that is not of this group
   */
  static async open(options: MigrationCoordinatorOptions): Promise<MigrationCoordinator> {
    const { journal, transport, onEvent, onError, clock, compactAfter, ...machineOptions } = checkObject(
      'options',
      options,
    );
    checkObject('transport', transport);
    const least = checkAtLeast('compactAfter', compactAfter ?? 1000, 1);
    // Wrong options are refused before a file is made.
    new CoordinatorMachine(machineOptions);
    const records = await checkObject('journal', journal).read();
    let machine: CoordinatorMachine;
    try {
      machine = new CoordinatorMachine(machineOptions, records);
    } catch (error) {
      await journal.close();
      throw error;
    }
    const coordinator = new MigrationCoordinator(options, machine, least, records.length);
    await coordinator.#run((nowMs) => machine.tick(nowMs));
    return coordinator;
  }

  private constructor(
    options: MigrationCoordinatorOptions,
    machine: CoordinatorMachine,
    compactAfter: number,
    numRecords: number,
  ) {
    this.#options = options;
    this.#machine = machine;
    this.#clock = options.clock ?? (() => performance.now());
    this.#compactAfter = compactAfter;
    this.#numRecords = numRecords;
    this.#stopListening = options.transport.onMessage((rank, message) => {
      this.#run((nowMs) => machine.receive(rank, message, nowMs)).catch((error) => this.#report(error));
    });
  }

  /**
   * Offers a target and waits for the end. Offered again, also after a restart, it is the same operation.
   *
   * @param options - a signal that is aborted asks for an abort. The outcome says what came of that.
   * @returns how it ended; or why it was refused, and nothing begun
   * @throws EplbTypeError, EplbRangeError for a wrong target; EplbError `EPLB_CLOSED` when the coordinator is
   *   closed or stops before the end. The operation is in the journal then.
   */
  async migrate(
    target: MigrationTarget,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<OperationOutcome | (OfferAnswer & { status: 'refused' })> {
    const { signal } = checkObject('options', options);
    const answer = await this.offer(target);
    if (answer.status === 'refused') return answer;
    if (answer.status === 'ended') return answer.outcome;
    const cancel = () => {
      this.abort(target.operationId, 'cancelled by its signal').catch((error) => this.#report(error));
    };
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel);
    try {
      return await this.#ended(target.operationId);
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Offers a target. The answer is durable. @throws as {@link migrate} */
  async offer(target: MigrationTarget): Promise<OfferAnswer> {
    return (await this.#run((nowMs) => this.#machine.offer(target, nowMs))).answer;
  }

  /** Lets an operation that waits for it go live. @throws EplbTypeError, EplbRangeError, EplbError */
  async activate(operationId: string): Promise<RequestAnswer> {
    return (await this.#run((nowMs) => this.#machine.activate(operationId, nowMs))).answer;
  }

  /** Ends an operation that is not decided. @throws EplbTypeError, EplbRangeError, EplbError */
  async abort(operationId: string, text: string): Promise<RequestAnswer> {
    return (await this.#run((nowMs) => this.#machine.abort(operationId, text, nowMs))).answer;
  }

  /** A rank's process is gone, for certain. See {@link CoordinatorMachine.lost}. */
  async lost(rank: number, text: string): Promise<void> {
    await this.#run((nowMs) => this.#machine.lost(rank, text, nowMs));
  }

  /** How an operation ended, if it did and is one of the last 1,000. */
  outcome(operationId: string): OperationOutcome | undefined {
    return this.#closed === undefined ? this.#machine.outcome(operationId) : undefined;
  }

  /**
   * How all stands. What an append under way is about to make durable is in it already.
   */
  view(): MigrationView {
    return this.#machine.view();
  }

  /** Takes in nothing more, ends what is being written, and closes the journal. */
  async close(): Promise<void> {
    this.#stop(new EplbError('EPLB_CLOSED', 'the coordinator is closed'));
    await this.#queue;
    await this.#options.journal.close();
  }

  /** Takes an input when those before it are done with. */
  #run<T extends CoordinatorOutput>(input: (nowMs: number) => T): Promise<T> {
    const run = this.#queue.then(() => this.#process(input));
    this.#queue = run.catch(() => undefined);
    return run;
  }

  async #process<T extends CoordinatorOutput>(input: (nowMs: number) => T): Promise<T> {
    if (this.#closed !== undefined) throw this.#closed;
    const output = input(this.#clock());
    await this.#makeDurable(output);
    for (const { rank, message } of output.messages) this.#send(rank, message);
    for (const event of output.events) this.#tell(event);
    this.#schedule();
    return output;
  }

  async #makeDurable({ records }: CoordinatorOutput): Promise<void> {
    const { journal } = this.#options;
    try {
      if (records.length > 0) await journal.append(records);
      this.#numRecords += records.length;
      if (this.#numRecords <= this.#compactAfter) return;
      const checkpoint = this.#machine.checkpoint();
      if (checkpoint === undefined) return;
      await journal.replace(checkpoint);
      this.#numRecords = 1;
    } catch (cause) {
      // The machine is ahead of what is known to be durable: nothing that it says may be heard.
      const closed = new EplbError('EPLB_CLOSED', 'the coordinator stopped: its journal failed', { cause });
      this.#stop(closed);
      this.#report(closed);
      throw closed;
    }
  }

  #send(rank: number, message: CoordinatorOutput['messages'][number]['message']): void {
    try {
      const sent = this.#options.transport.send(rank, message);
      if (sent instanceof Promise) sent.catch((error) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  #tell(event: MigrationEvent): void {
    if (event.type === 'ended') {
      for (const { resolve } of this.#waiting.get(event.operationId) ?? []) resolve(event.outcome);
      this.#waiting.delete(event.operationId);
    }
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#report(error);
    }
  }

  #ended(operationId: string): Promise<OperationOutcome> {
    const outcome = this.#machine.outcome(operationId);
    if (outcome !== undefined && this.#closed === undefined) return Promise.resolve(outcome);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(operationId) ?? [];
      waiting.push({ resolve, reject });
      this.#waiting.set(operationId, waiting);
    });
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const nextMs = this.#machine.nextTickMs();
    if (nextMs === undefined || this.#closed !== undefined) return;
    const delayMs = Math.min(MAX_DELAY_MS, Math.max(1, Math.ceil(nextMs - this.#clock())));
    this.#timer = setTimeout(() => {
      this.#run((nowMs) => this.#machine.tick(nowMs)).catch(() => undefined);
    }, delayMs);
  }

  #stop(error: EplbError): void {
    this.#closed ??= error;
    clearTimeout(this.#timer);
    this.#stopListening();
    for (const waiting of this.#waiting.values()) for (const { reject } of waiting) reject(this.#closed);
    this.#waiting.clear();
  }

  #report(error: unknown): void {
    if (error === this.#closed && this.#closed?.cause === undefined) return;
    try {
      if (this.#options.onError === undefined) process.emitWarning(String(error));
      else this.#options.onError(error);
    } catch (another) {
      process.emitWarning(String(another));
    }
  }
}

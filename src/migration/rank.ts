import { checkAtLeast, checkObject } from '../core/checks.ts';
import { MAX_DELAY_MS } from '../core/timers.ts';
import { errorText, type HeldEpoch } from './messages.ts';
import {
  type RankAction,
  RankMachine,
  type RankMachineOptions,
  type RankOutput,
  type RankView,
  type StepAnswer,
} from './rank-machine.ts';
import type { RankTransport } from './transport.ts';

/** An operation as a rank's host sees it. */
export interface PreparedOperation extends HeldEpoch {
  readonly token: number;
  readonly layers: readonly number[];
}

/** Who keeps a rank's weights. One of these runs at a time, in the order in which they were asked for. */
export interface WeightHost {
  /**
   * Fills buffers with what these layers get, and calls `done` for each; a layer that is not named is done at
   * the end. What it throws refuses the operation. It ends early when the signal is aborted.
   */
  prepare(
    operation: PreparedOperation,
    control: { readonly signal: AbortSignal; readonly done: (layer: number) => void },
  ): void | Promise<void>;
  /** Brings the buffers into the slots. No step runs. What it throws marks all these layers as broken. */
  swap(operation: PreparedOperation): void | Promise<void>;
  /** Lets go of buffers. There may be none. */
  drop(token: number): void | Promise<void>;
  /** Loads the weights of an epoch into all slots. What it throws is tried again. */
  restore(held: HeldEpoch): void | Promise<void>;
}

/** A rank: what it holds, its link and its host. */
export interface MigrationRankOptions extends RankMachineOptions {
  readonly transport: RankTransport;
  readonly host: WeightHost;
  /** How often it says how it stands, as messages may be lost. 1,000 by default. */
  readonly resendMs?: number;
  /** What a bad message, or a send or drop that failed, comes to; a warning of the process by default. */
  readonly onError?: (error: unknown) => void;
}

/**
 * A rank's side of migrations: connects a {@link RankMachine} to a transport, to the host of its weights and
 * to timers. It begins fenced, says hello, and serves once the coordinator has admitted it.
 * @example
 * ```ts
 * const rank = new MigrationRank({ numLayers: 58, incarnation: Date.now(), holds: null, transport, host });
 * for (let step = 0; ; step++) {
 *   const answer = await rank.beginStep(step);
 *   if (answer.status === 'serve') await serve(step, answer.epoch);
 * }
 * ```
 */
export class MigrationRank {
  readonly #machine: RankMachine;
  readonly #options: MigrationRankOptions;
  readonly #stopListening: () => void;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Of the preparation under way. */
  #control: { readonly token: number; readonly controller: AbortController } | undefined;
  #work: Promise<void> = Promise.resolve();
  #changed: (() => void)[] = [];
  #isClosed = false;

  /** @throws EplbTypeError, EplbRangeError for wrong options */
  constructor(options: MigrationRankOptions) {
    const { transport, host, resendMs, onError, ...machineOptions } = checkObject('options', options);
    const everyMs = Math.min(checkAtLeast('resendMs', resendMs ?? 1000, 1), MAX_DELAY_MS);
    checkObject('host', host);
    this.#machine = new RankMachine(machineOptions);
    this.#options = options;
    this.#stopListening = checkObject('transport', transport).onMessage((message) => {
      try {
        this.#take(this.#machine.receive(message));
      } catch (error) {
        this.#report(error);
      }
    });
    this.#timer = setInterval(() => this.#take(this.#machine.tick()), everyMs);
    this.#timer.unref();
    this.#take(this.#machine.tick());
  }

  /**
   * Asks for a step at its boundary. While a decision or a swap is waited for it waits too, so that the
   * answer is 'serve' or 'fenced'; or 'wait' with the later step that this rank serves from.
   *
   * @throws EplbRangeError `EPLB_RANGE` for a step that was served already
   */
  async beginStep(step: number): Promise<StepAnswer> {
    for (;;) {
      const answer = this.tryStep(step);
      if (answer.status !== 'wait' || answer.fromStep !== undefined || this.#isClosed) return answer;
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
  }

  /** {@link beginStep}, which does not wait: the answer may be 'wait', to be asked again. */
  tryStep(step: number): StepAnswer {
    const output = this.#machine.beginStep(step);
    this.#take(output);
    return output.answer;
  }

  /** The host takes the rank out. See {@link RankMachine.fence}. */
  fence(reason: string, broken: readonly number[] = []): void {
    this.#take(this.#machine.fence(reason, broken));
  }

  /** How it stands: a copy. */
  view(): RankView {
    return this.#machine.view();
  }

  /** Says and hears nothing more, and waits for the host's work. A step that waits is answered. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#stopListening();
    this.#control?.controller.abort();
    this.#wake();
    await this.#work;
  }

  #take({ messages, actions }: RankOutput): void {
    if (this.#isClosed) return;
    for (const message of messages) this.#send(message);
    for (const action of actions) {
      if (action.type === 'drop' && this.#control?.token === action.token) this.#control.controller.abort();
      this.#work = this.#work.then(() => this.#do(action));
    }
    this.#wake();
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = [];
    for (const resolve of changed) resolve();
  }

  #send(message: RankOutput['messages'][number]): void {
    try {
      const sent = this.#options.transport.send(message);
      if (sent instanceof Promise) sent.catch((error) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  async #do(action: RankAction): Promise<void> {
    const { host } = this.#options;
    if (action.type === 'prepare') await this.#prepare(action);
    else if (action.type === 'swap') await this.#swap(action);
    else if (action.type === 'restore') await this.#restore(action);
    else {
      try {
        await host.drop(action.token);
      } catch (error) {
        this.#report(error);
      }
    }
  }

  async #prepare({ token, layers, epoch, digest }: RankAction & { type: 'prepare' }): Promise<void> {
    const isWanted = () => this.#machine.view().operation?.token === token;
    if (!isWanted()) return;
    const controller = new AbortController();
    this.#control = { token, controller };
    const left = new Set(layers);
    const done = (layer: number) => {
      if (left.delete(layer)) this.#take(this.#machine.prepared(token, [layer]));
    };
    try {
      await this.#options.host.prepare({ token, layers, epoch, digest }, { signal: controller.signal, done });
      if (left.size > 0 && !controller.signal.aborted) this.#take(this.#machine.prepared(token, [...left]));
    } catch (error) {
      const refused = left.size > 0 ? [...left] : layers;
      this.#take(this.#machine.refused(token, refused, errorText(error)));
    } finally {
      this.#control = undefined;
    }
  }

  async #swap({ token, layers, epoch, digest }: RankAction & { type: 'swap' }): Promise<void> {
    // It may have been fenced since: then nothing is touched.
    if (this.#machine.view().operation?.state !== 'swapping') return;
    try {
      await this.#options.host.swap({ token, layers, epoch, digest });
      this.#take(this.#machine.swapped(token));
    } catch (error) {
      this.#take(this.#machine.failed(token, layers, errorText(error)));
    }
  }

  async #restore({ epoch, digest }: HeldEpoch): Promise<void> {
    try {
      await this.#options.host.restore({ epoch, digest });
      this.#take(this.#machine.restored({ epoch, digest }));
    } catch (error) {
      this.#take(this.#machine.notRestored(errorText(error)));
    }
  }

  #report(error: unknown): void {
    try {
      if (this.#options.onError === undefined) process.emitWarning(String(error));
      else this.#options.onError(error);
    } catch (another) {
      process.emitWarning(String(another));
    }
  }
}

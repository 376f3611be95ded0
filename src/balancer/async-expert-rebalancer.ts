import { captureRejectionSymbol, EventEmitter } from 'node:events';
import { checkAtLeast, checkBoolean, show } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_DELAY_MS, nextTurn } from '../core/timers.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { BalancerDecision, KeptReason, PlanForecast } from '../policy/decision.ts';
import { checkBalancer, type ExpertLoadBalancer, sharedParts } from './expert-load-balancer.ts';

/** Why a rebalancer planned nothing, or kept nothing of its plan. */
export type SkipReason =
  /** No step was recorded yet. */
  | 'no samples'
  /** No layer's load imbalance is above the threshold. */
  | 'balanced'
  /** The plan is the live mapping. */
  | 'unchanged'
  /** Another mapping went live while the plan was made. */
  | 'stale'
  /** The rebalancer was stopped meanwhile. */
  | 'stopped'
  /** The policy keeps the live mapping. */
  | KeptReason;

/** What became of a plan. */
export type RebalanceOutcome =
  /** The mapping waits for {@link AsyncExpertRebalancer.getPendingMapping}. */
  | {
      readonly status: 'pending';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
      /** From policies that make one. */
      readonly forecast?: PlanForecast;
    }
  /** The mapping is live. */
  | {
      readonly status: 'committed';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
      readonly generation: number;
      readonly forecast?: PlanForecast;
    }
  | { readonly status: 'skipped'; readonly reason: SkipReason };

/** The events of a rebalancer and what their listeners get. */
export interface RebalancerEvents {
  pending: [outcome: Extract<RebalanceOutcome, { status: 'pending' }>];
  committed: [outcome: Extract<RebalanceOutcome, { status: 'committed' }>];
  skipped: [outcome: Extract<RebalanceOutcome, { status: 'skipped' }>];
  /**
   * An error of the background loop, which goes on after a longer pause, or of a listener that threw or whose
   * promise was rejected. With no listener for it, an error of the loop becomes a process warning each time,
   * and one of listeners the first time.
   */
  error: [error: Error];
}

export interface AsyncExpertRebalancerOptions {
  readonly balancer: ExpertLoadBalancer;
  /** Milliseconds between two looks at the loads, 60,000 by default. */
  readonly rebalanceInterval?: number;
  /** Plan when a layer's largest rank load is more than this many times its smallest one; 2 by default. */
  readonly loadThreshold?: number;
  /**
   * Make every new mapping live at once, instead of keeping it for
   * {@link AsyncExpertRebalancer.getPendingMapping}.
   */
  readonly autoCommit?: boolean;
}

const NAMES = ['balancer', 'rebalanceInterval', 'loadThreshold', 'autoCommit'];

/** The longest pause after errors, in intervals. */
const MAX_BACK_OFF = 16;
/** What a pause after errors is reckoned from when the interval is shorter. */
const MIN_BACK_OFF_MS = 10;

/**
 * Watches a balancer's loads and plans in the background: in the balancer's pool, never on the caller's
 * thread. One plan at a time; a new mapping is kept until it is taken, or goes live at once with
 * `autoCommit`.
 *
 * The timer does not keep the process alive. No error of a listener ends the process or the loop.
 *
 * @example
 * ```ts
 * const rebalancer = new AsyncExpertRebalancer({ balancer, rebalanceInterval: 10_000 });
 * rebalancer.on('pending', async () => {
 *   const mapping = rebalancer.getPendingMapping();
 *   if (mapping === undefined) return;
 *   await moveWeights(balancer.mapping, mapping); // the host's
 *   balancer.commit(mapping); // EPLB_STALE when another mapping went live meanwhile: an 'error' event
 * });
 * rebalancer.start();
 * ```
 */
export class AsyncExpertRebalancer extends EventEmitter<RebalancerEvents> {
  readonly balancer: ExpertLoadBalancer;
  /** Milliseconds. */
  readonly rebalanceInterval: number;
  readonly loadThreshold: number;
  readonly autoCommit: boolean;
  #timer: NodeJS.Timeout | undefined;
  /** Stands for the loop that runs; a loop that finds another one, or none, ends. */
  #loop: symbol | undefined;
  #inFlight: Promise<RebalanceOutcome> | undefined;
  /** Whether what is in flight plans only if the loads are uneven. */
  #isLooking = false;
  /** What was asked for meanwhile. */
  #afterLook: Promise<RebalanceOutcome> | undefined;
  #abort: AbortController | undefined;
  #pending: ExpertMapping | undefined;
  #numErrors = 0;
  #errorsInARow = 0;
  /** Whether an error of a listener was warned of. */
  #hasWarned = false;

  /** @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE` */
  constructor(options: AsyncExpertRebalancerOptions) {
    super({ captureRejections: true });
    const {
      balancer,
      rebalanceInterval = 60_000,
      loadThreshold = 2,
      autoCommit = false,
    } = checkOptions('options', options, NAMES);
    checkBalancer('balancer', balancer);
    this.balancer = balancer;
    this.rebalanceInterval = checkAtLeast('rebalanceInterval', rebalanceInterval, 0);
    this.loadThreshold = checkAtLeast('loadThreshold', loadThreshold, 1);
    this.autoCommit = checkBoolean('autoCommit', autoCommit);
  }

  get isRunning(): boolean {
    return this.#loop !== undefined;
  }

  /** Errors of the background loop and of listeners so far. */
  get numErrors(): number {
    return this.#numErrors;
  }

  /** Starts looking every `rebalanceInterval`, the first time after one. Idempotent. */
  start(): void {
    if (this.#loop !== undefined) return;
    this.#loop = Symbol('loop');
    this.#errorsInARow = 0;
    this.#schedule(this.#loop);
  }

  /** Stops looking and cancels the plan in flight; resolves when nothing of it runs any more. Idempotent. */
  async stop(): Promise<void> {
    this.#loop = undefined;
    clearTimeout(this.#timer);
    this.#abort?.abort();
    await this.#inFlight?.catch(() => {});
  }

  /**
   * Whether some layer's load imbalance (largest / smallest rank load, averaged over the window) is above the
   * threshold.
   */
  shouldRebalance(): boolean {
    const { window } = sharedParts(this.balancer);
    return window.numSamples > 0 && window.rankLoadImbalance() > this.loadThreshold;
  }

  /**
   * Takes the planned mapping that waits, if there is one: a second call gets nothing until there is a new
   * one. Its `commit` throws `EPLB_STALE` when another mapping went live after it was planned.
   */
  getPendingMapping(): ExpertMapping | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending;
  }

  /**
   * Plans now, whatever the threshold says. While a plan is in flight, that one's outcome is returned. What a
   * listener throws becomes an 'error' event.
   *
   * @throws (as a rejection) what `ExpertLoadBalancer.plan` throws
   */
  rebalanceAsync(): Promise<RebalanceOutcome> {
    if (this.#inFlight === undefined || !this.#isLooking) return this.#fly(false);
    // The background may find that there is nothing to do; this caller wants a plan all the same.
    this.#afterLook ??= this.#inFlight
      .then((outcome) => (isBalanced(outcome) ? this.#fly(false) : outcome))
      .finally(() => {
        this.#afterLook = undefined;
      });
    return this.#afterLook;
  }

  /** Plans, or waits for what is in flight already. @param onlyIfUneven whether the threshold has a say */
  #fly(onlyIfUneven: boolean): Promise<RebalanceOutcome> {
    if (this.#inFlight !== undefined) return this.#inFlight;
    this.#isLooking = onlyIfUneven;
    this.#inFlight = this.#plan(onlyIfUneven).finally(() => {
      this.#inFlight = undefined;
    });
    return this.#inFlight;
  }

  async #plan(onlyIfUneven: boolean): Promise<RebalanceOutcome> {
    if (onlyIfUneven && this.balancer.numSamples === 0)
      return this.#report({ status: 'skipped', reason: 'no samples' });
    const abort = new AbortController();
    const { signal } = abort;
    this.#abort = abort;
    let decision: BalancerDecision | undefined;
    try {
      decision = onlyIfUneven
        ? await sharedParts(this.balancer).planIfUneven(this.loadThreshold, signal)
        : await this.balancer.decide(undefined, { signal });
    } catch (error) {
      const isStopped = abort.signal.aborted && error instanceof EplbError && error.code === 'EPLB_CANCELLED';
      if (isStopped) return this.#report({ status: 'skipped', reason: 'stopped' });
      throw error;
    }
    // In the background the answer and the commit are two short turns of the host's thread, and not a longer
    // one.
    if (onlyIfUneven) await nextTurn();
    if (signal.aborted) return this.#report({ status: 'skipped', reason: 'stopped' });
    if (decision === undefined) return this.#report({ status: 'skipped', reason: 'balanced' });
    if (decision.status === 'kept') {
      // What waits was planned for older loads.
      if (decision.reason !== 'no samples') this.#pending = undefined;
      return this.#report({ status: 'skipped', reason: decision.reason });
    }
    const { mapping, forecast, generation: from } = decision;
    const { mapping: previous, generation: live } = this.balancer;
    if (from !== live || mapping.equals(previous)) {
      this.#pending = undefined; // what waits was planned for older loads
      return this.#report({ status: 'skipped', reason: from === live ? 'unchanged' : 'stale' });
    }
    if (!this.autoCommit) {
      this.#pending = mapping;
      return this.#report({ status: 'pending', mapping, previous, ...(forecast && { forecast }) });
    }
    this.balancer.commit(mapping, { from });
    const { generation } = this.balancer;
    return this.#report({
      status: 'committed',
      mapping,
      previous,
      generation,
      ...(forecast && { forecast }),
    });
  }

  #schedule(loop: symbol): void {
    const pause =
      Math.max(this.rebalanceInterval, MIN_BACK_OFF_MS) * Math.min(2 ** this.#errorsInARow, MAX_BACK_OFF);
    const delay = Math.min(this.#errorsInARow === 0 ? this.rebalanceInterval : pause, MAX_DELAY_MS);
    this.#timer = setTimeout(() => void this.#look(loop), delay).unref();
  }

  /** One turn of the loop. It goes on whatever happens, but not when the balancer is closed. */
  async #look(loop: symbol): Promise<void> {
    try {
      await this.#fly(true);
      this.#errorsInARow = 0;
    } catch (error) {
      this.#numErrors++;
      this.#errorsInARow++;
      if (error instanceof EplbError && error.code === 'EPLB_CLOSED') this.#loop = undefined;
      if (!this.#tellError(toError(error))) process.emitWarning(toError(error));
    } finally {
      if (this.#loop === loop) this.#schedule(loop);
    }
  }

  /** Tells the listeners. What becomes of them changes nothing of the outcome. */
  #report(outcome: RebalanceOutcome): RebalanceOutcome {
    try {
      if (outcome.status === 'pending') this.emit('pending', outcome);
      else if (outcome.status === 'committed') this.emit('committed', outcome);
      else this.emit('skipped', outcome);
    } catch (error) {
      this.#listenerFailed(error);
    }
    return outcome;
  }

  /** @internal Called by Node when the promise of a listener is rejected. */
  override [captureRejectionSymbol](error: Error, ...[event]: readonly unknown[]): void {
    this.#listenerFailed(error, event === 'error');
  }

  /** @param isOfError whether it was a listener for errors: it is not told of its own */
  #listenerFailed(error: unknown, isOfError = false): void {
    this.#numErrors++;
    if (!isOfError && this.#tellError(toError(error))) return;
    if (!this.#hasWarned) process.emitWarning(toError(error));
    this.#hasWarned = true;
  }

  /** Whether there is a listener for errors. An 'error' event that nobody listens to would end the host. */
  #tellError(error: Error): boolean {
    if (this.listenerCount('error') === 0) return false;
    try {
      this.emit('error', error);
    } catch (thrown) {
      this.#listenerFailed(thrown, true);
    }
    return true;
  }
}

function isBalanced(outcome: RebalanceOutcome): boolean {
  return outcome.status === 'skipped' && outcome.reason === 'balanced';
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(show(thrown));
}

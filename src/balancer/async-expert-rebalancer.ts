import { captureRejectionSymbol, EventEmitter } from 'node:events';
import { checkAtLeast, checkBoolean, show } from '../core/checks.ts';
import { EplbError, EplbTypeError } from '../core/errors.ts';
import { codeOf, type MigrationStatusEvent } from '../core/events.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_DELAY_MS, nextTurn } from '../core/timers.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { BalancerDecision, PlanForecast } from '../policy/decision.ts';
import {
  type ApplyTransfer,
  applyTransfer,
  checkTransferOptions,
  type ExpertTransfer,
  makeTransfer,
  type RebalancerTransferOptions,
  type TransferAbort,
} from './apply-transfer.ts';
import { checkBalancer, type ExpertLoadBalancer, sharedParts } from './expert-load-balancer.ts';
import { type PlanOutcome, planEvent } from './plan-event.ts';
import type { RebalanceOutcome, RebalancerEvents } from './rebalance-outcome.ts';
import { makeShadow, type Shadow, type ShadowGain } from './shadow.ts';
import type { TopologyChanged } from './topology-change.ts';

export interface AsyncExpertRebalancerOptions {
  readonly balancer: ExpertLoadBalancer;
  /** Milliseconds between two checks of the loads; 60,000 by default. */
  readonly rebalanceInterval?: number;
  /** Plans when the largest rank load of a layer is more than this many times its smallest; 2 by default. */
  readonly loadThreshold?: number;
  /**
   * Makes every new mapping live at once, instead of keeping it for
   * {@link AsyncExpertRebalancer.getPendingMapping}.
   */
  readonly autoCommit?: boolean;
  /**
   * Moves the weights of each plan; the mapping goes live once it has resolved. `autoCommit` then has no
   * effect, and no mapping is kept. It is never called again before it has settled.
   */
  readonly apply?: ApplyTransfer;
  /** How the transfers passed to `apply` are planned. */
  readonly transfer?: RebalancerTransferOptions;
  /**
   * Plans as usual, and measures each plan on the steps that follow, compared with the live mapping, but
   * offers, moves and commits nothing. Use it to find out what balancing would gain. Default false.
   */
  readonly shadow?: boolean;
}

const NAMES = ['balancer', 'rebalanceInterval', 'loadThreshold', 'autoCommit', 'apply', 'transfer', 'shadow'];
/** Gains of the shadow mode that are kept. */
const MOST_SHADOWS = 16;

/** The longest pause after errors, in intervals. */
const MAX_BACK_OFF = 16;
/** What a pause after errors is reckoned from when the interval is shorter. */
const MIN_BACK_OFF_MS = 10;

/**
 * Watches a balancer's loads and plans in the background: in the balancer's pool, never on the caller's
 * thread. It makes one plan at a time. A new mapping is kept until it is taken, or goes live at once with
 * `autoCommit`.
 *
 * The timer does not keep the process alive. An error in a listener ends neither the process nor the loop.
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
  readonly #apply: ApplyTransfer | undefined;
  readonly #transferOptions: RebalancerTransferOptions;
  readonly #isShadow: boolean;
  /** The plan that is measured, and those that were. */
  #shadow: Shadow | undefined;
  #shadowGains: ShadowGain[] = [];
  #numShadows = 0;
  /** Ends hearing of changes of the topology. */
  #stopHearing: (() => void) | undefined;
  /** Whether the next look is to plan at once, whatever the threshold says. */
  #isUrgent = false;
  #isInLook = false;
  /** The newest gain that listeners were told of, by its number. */
  #lastTold: number;
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
  /** What the newest plan took. */
  #planSeconds = 0;
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
      apply,
      transfer,
      shadow = false,
    } = checkOptions('options', options, NAMES);
    checkBalancer('balancer', balancer);
    this.balancer = balancer;
    this.rebalanceInterval = checkAtLeast('rebalanceInterval', rebalanceInterval, 0);
    this.loadThreshold = checkAtLeast('loadThreshold', loadThreshold, 1);
    this.autoCommit = checkBoolean('autoCommit', autoCommit);
    if (apply !== undefined && typeof apply !== 'function')
      throw new EplbTypeError('EPLB_KIND', `apply: ${show(apply)} is not a function`);
    this.#isShadow = checkBoolean('shadow', shadow);
    if (shadow && (this.autoCommit || apply !== undefined)) {
      const message = 'shadow: offers nothing, so that there is nothing for autoCommit or apply to do';
      throw new EplbError('EPLB_OPTION', message);
    }
    this.#apply = apply;
    this.#transferOptions = transfer === undefined ? {} : checkTransferOptions(transfer, balancer.topology);
    this.#lastTold = sharedParts(balancer).gains.gains.at(-1)?.number ?? 0;
  }

  get isRunning(): boolean {
    return this.#loop !== undefined;
  }

  /** Number of errors of the background loop and of listeners so far. */
  get numErrors(): number {
    return this.#numErrors;
  }

  /**
   * Starts checking the loads every `rebalanceInterval`; the first check is after one interval. Idempotent.
   */
  start(): void {
    if (this.#loop !== undefined) return;
    this.#loop = Symbol('loop');
    this.#errorsInARow = 0;
    this.#isUrgent = false;
    sharedParts(this.balancer).loops.add(this);
    this.#stopHearing = sharedParts(this.balancer).onTopology((changed) => this.#repaired(changed));
    this.#schedule(this.#loop);
  }

  /**
   * Stops checking and cancels the plan under way; resolves when nothing of it is running any more.
   * Idempotent.
   */
  async stop(): Promise<void> {
    this.#loop = undefined;
    sharedParts(this.balancer).loops.delete(this);
    clearTimeout(this.#timer);
    this.#stopHearing?.();
    this.#shadow?.end();
    this.#abort?.abort();
    await this.#inFlight?.catch(() => {});
  }

  /** What the last plans of the shadow mode would have gained; the last entry is the plan being measured. */
  get shadowGains(): readonly ShadowGain[] {
    return this.#shadow === undefined ? this.#shadowGains : [...this.#shadowGains, this.#shadow.gain];
  }

  /** Ranks have changed: balance cannot wait for the next look. */
  #repaired(changed: TopologyChanged): void {
    this.#pending = undefined;
    this.#emit('repaired', changed);
    if (this.#loop === undefined) return;
    this.#isUrgent = true;
    // A look under way is followed at once.
    if (this.#isInLook) return;
    clearTimeout(this.#timer);
    this.#schedule(this.#loop);
  }

  /**
   * Whether the load imbalance of some layer (largest / smallest rank load, averaged over the window) is
   * above the threshold.
   */
  shouldRebalance(): boolean {
    const { window } = sharedParts(this.balancer);
    return window.numSamples > 0 && window.rankLoadImbalance() > this.loadThreshold;
  }

  /**
   * Takes the planned mapping that is waiting, if there is one: a second call returns nothing until there is
   * a new one. Its `commit` throws `EPLB_STALE` if another mapping went live after it was planned.
   */
  getPendingMapping(): ExpertMapping | undefined {
    const pending = this.#pending;
    this.#pending = undefined;
    return pending;
  }

  /**
   * Plans now, whatever the threshold is. While a plan is under way, that plan's outcome is returned. An
   * exception thrown by a listener becomes an 'error' event.
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
    const planned = this.#plan(onlyIfUneven);
    // Beside it: whoever waits for the plan is not to wait longer.
    planned.catch((error) => this.#tellPlan({ status: 'failed', reason: codeOf(error) }));
    this.#inFlight = planned.finally(() => {
      this.#inFlight = undefined;
    });
    return this.#inFlight;
  }

  async #plan(onlyIfUneven: boolean): Promise<RebalanceOutcome> {
    this.#planSeconds = 0;
    this.#tellRealised();
    if (onlyIfUneven && this.balancer.numSamples === 0)
      return this.#report({ status: 'skipped', reason: 'no samples' });
    const abort = new AbortController();
    const { signal } = abort;
    sharedParts(this.balancer).toldElsewhere.add(signal);
    this.#abort = abort;
    let decision: BalancerDecision | undefined;
    const startMs = performance.now();
    try {
      decision = onlyIfUneven
        ? await sharedParts(this.balancer).planIfUneven(this.loadThreshold, signal)
        : await this.balancer.decide(undefined, { signal });
    } catch (error) {
      const isStopped = abort.signal.aborted && error instanceof EplbError && error.code === 'EPLB_CANCELLED';
      if (isStopped) return this.#report({ status: 'skipped', reason: 'stopped' });
      throw error;
    }
    this.#planSeconds = (performance.now() - startMs) / 1000;
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
    if (this.#fallsShort(forecast)) {
      this.#pending = undefined;
      return this.#report({ status: 'skipped', reason: 'fell short' });
    }
    const prediction = forecast && { forecast };
    if (this.#isShadow) return this.#report(this.#measure({ mapping, previous, ...prediction }));
    this.#tellPlan(decision);
    if (this.#apply !== undefined) {
      const plan = { from: previous, to: mapping, generation: from, ...prediction };
      const transfer = makeTransfer(this.balancer, plan, this.#transferOptions);
      return this.#report(await this.#transfer(this.#apply, transfer, signal));
    }
    if (!this.autoCommit) {
      this.#pending = mapping;
      return this.#report({ status: 'pending', mapping, previous, ...prediction });
    }
    this.balancer.commit(mapping, { from });
    const { generation } = this.balancer;
    return this.#report({ status: 'committed', mapping, previous, generation, ...prediction });
  }

  /** Measures a plan of the shadow mode from now on, in place of the one before. */
  #measure(plan: Omit<Extract<RebalanceOutcome, { status: 'shadowed' }>, 'status'>): RebalanceOutcome {
    if (this.#shadow?.mapping.equals(plan.mapping)) return { status: 'skipped', reason: 'unchanged' };
    this.#shadow?.end();
    this.#shadow = makeShadow(this.balancer, plan, ++this.#numShadows, (gain) => {
      this.#shadow = undefined;
      this.#shadowGains = [...this.#shadowGains, gain].slice(-MOST_SHADOWS);
      this.#emit('scored', gain);
    });
    return { status: 'shadowed', ...plan };
  }

  /** Has the weights moved, and makes the mapping live when they are. */
  async #transfer(
    apply: ApplyTransfer,
    transfer: ExpertTransfer,
    signal: AbortSignal,
  ): Promise<RebalanceOutcome> {
    const { from: previous, to: mapping, generation: from, forecast } = transfer;
    const plan = { mapping, previous, ...(forecast && { forecast }) };
    const startMs = performance.now();
    this.#tellMigration('begun', startMs);
    const aborted = await applyTransfer(apply, this.balancer, transfer, signal);
    if (aborted !== undefined) {
      this.#tellMigration('aborted', startMs, aborted.reason);
      return { status: 'aborted', ...plan, ...aborted };
    }
    this.#emit('prepared', transfer);
    // A listener may have stopped it, or made something live itself.
    const ended = this.#endOf(transfer, signal);
    if (ended !== undefined) {
      this.#tellMigration('aborted', startMs, ended.reason);
      return { status: 'aborted', ...plan, ...ended };
    }
    if (this.balancer.mapping !== mapping) this.balancer.commit(mapping, { from });
    this.#tellMigration('active', startMs);
    return { status: 'activated', ...plan, generation: this.balancer.generation };
  }

  #endOf({ to, generation }: ExpertTransfer, signal: AbortSignal): TransferAbort | undefined {
    const { isFresh, isClosed } = sharedParts(this.balancer);
    if (isClosed()) return { reason: 'closed' };
    if (signal.aborted) return { reason: 'stopped' };
    return this.balancer.mapping === to || isFresh(to, generation) ? undefined : { reason: 'stale' };
  }

  /** Whether the last plans did not keep their word, and this one promises too little for that. */
  #fallsShort(forecast: PlanForecast | undefined): boolean {
    const { gains, numSteps } = sharedParts(this.balancer);
    const bar = gains.bar(numSteps());
    return bar > 0 && forecast !== undefined && gains.promiseOf(forecast) < bar;
  }

  /** Tells of what is known for good since the last time. */
  #tellRealised(): void {
    for (const gain of sharedParts(this.balancer).gains.gains) {
      if (!gain.isFinal || gain.number <= this.#lastTold) continue;
      this.#lastTold = gain.number;
      this.#emit('realised', gain);
    }
  }

  #schedule(loop: symbol): void {
    const pause =
      Math.max(this.rebalanceInterval, MIN_BACK_OFF_MS) * Math.min(2 ** this.#errorsInARow, MAX_BACK_OFF);
    const usual = this.#isUrgent ? 0 : this.rebalanceInterval;
    const delay = Math.min(this.#errorsInARow === 0 ? usual : pause, MAX_DELAY_MS);
    this.#timer = setTimeout(() => void this.#look(loop), delay).unref();
  }

  /** One turn of the loop. It goes on whatever happens, but not when the balancer is closed. */
  async #look(loop: symbol): Promise<void> {
    this.#isInLook = true;
    try {
      const isUrgent = this.#isUrgent;
      this.#isUrgent = false;
      // What the host asked for is of the topology before.
      if (isUrgent) await this.#inFlight?.catch(() => {});
      const outcome = await this.#fly(!isUrgent);
      if (outcome.status !== 'aborted' || outcome.reason !== 'failed') this.#errorsInARow = 0;
      else this.#applyFailed(outcome.error);
    } catch (error) {
      this.#numErrors++;
      this.#errorsInARow++;
      if (error instanceof EplbError && error.code === 'EPLB_CLOSED') {
        this.#loop = undefined;
        sharedParts(this.balancer).loops.delete(this);
      }
      if (!this.#tellError(toError(error))) process.emitWarning(toError(error));
    } finally {
      this.#isInLook = false;
      if (this.#loop === loop) this.#schedule(loop);
    }
  }

  /** An error of the loop, of which listeners for 'aborted' know. */
  #applyFailed(error: unknown): void {
    this.#numErrors++;
    this.#errorsInARow++;
    if (this.listenerCount('aborted') > 0 || this.#tellError(toError(error))) return;
    process.emitWarning(toError(error));
  }

  /** What became of a plan, for those who watch the balancer. */
  #tellPlan(outcome: PlanOutcome): void {
    const { events } = sharedParts(this.balancer);
    events.tell('plan', () => planEvent(this.balancer, outcome, this.#planSeconds));
  }

  #tellMigration(status: MigrationStatusEvent['status'], startMs: number, reason?: string): void {
    const { name: group, generation: epoch } = this.balancer;
    const seconds = status === 'begun' ? 0 : (performance.now() - startMs) / 1000;
    const event = { group, epoch, status, seconds, ...(reason !== undefined && { reason }) };
    sharedParts(this.balancer).events.tell('migration', () => event);
  }

  #report(outcome: RebalanceOutcome): RebalanceOutcome {
    if (outcome.status === 'shadowed') this.#tellPlan({ ...outcome, status: 'planned' });
    else if (outcome.status === 'skipped') this.#tellPlan({ ...outcome, status: 'kept' });
    if (outcome.status === 'pending') this.#emit('pending', outcome);
    else if (outcome.status === 'committed') this.#emit('committed', outcome);
    else if (outcome.status === 'shadowed') this.#emit('shadowed', outcome);
    else if (outcome.status === 'activated') this.#emit('activated', outcome);
    else if (outcome.status === 'aborted') this.#emit('aborted', outcome);
    else this.#emit('skipped', outcome);
    if (outcome.status === 'committed' || outcome.status === 'activated') this.#tellRealised();
    return outcome;
  }

  /** Tells the listeners. What becomes of them changes nothing of the outcome. */
  #emit<Name extends keyof RebalancerEvents>(name: Name, ...values: RebalancerEvents[Name]): void {
    try {
      (this as EventEmitter).emit(name, ...values);
    } catch (error) {
      this.#listenerFailed(error);
    }
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

import { EplbError, EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import type { Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanForecast } from '../policy/decision.ts';
import { readTransferOptions, type TransferOptions, transferOptionNames } from '../transfer/options.ts';
import type { TransferPlan } from '../transfer/plan.ts';
import { planTransfer } from '../transfer/plan-transfer.ts';
import { type ExpertLoadBalancer, sharedParts } from './expert-load-balancer.ts';
import { closedError } from './open-gate.ts';
import type { LoadSource } from './shared-parts.ts';

/** A plan whose weights are to be moved. */
export interface ExpertTransfer {
  /** The live mapping: where the experts are. */
  readonly from: ExpertMapping;
  readonly to: ExpertMapping;
  /** The generation of `from`. */
  readonly generation: number;
  /** From policies that make one. */
  readonly forecast?: PlanForecast;
  /**
   * How the weights get there, by {@link planTransfer}: layers that are forecast to gain most for a byte come
   * first. Planned in the calling thread when it is first read.
   */
  readonly plan: TransferPlan;
}

/**
 * How a rebalancer has transfers planned: all but what the balancer knows. What is said of pairs of ranks is
 * of those that there were then: with fewer ranks the last ones are left out, and with more the balancer's
 * own `linkClasses` count, as `changeTopology` was given them. `deadRanks` are so beside the balancer's.
 */
export type RebalancerTransferOptions = Omit<TransferOptions, 'numRanks' | 'numNodes' | 'topology' | 'gains'>;

const BALANCERS_OWN = ['numRanks', 'numNodes', 'topology', 'gains'];

/** A copy of options, each read once. @throws as {@link planTransfer} for wrong options */
export function checkTransferOptions(
  given: RebalancerTransferOptions,
  topology: Topology,
): RebalancerTransferOptions {
  const known = transferOptionNames().filter((name) => !BALANCERS_OWN.includes(name));
  const options = { ...checkOptions('transfer', given, known) };
  readTransferOptions({ ...options, topology }, topology);
  return options;
}

/**
 * The options for the ranks that a balancer has now.
 *
 * @throws EplbRangeError `EPLB_SHAPE` where nobody has said what links to new ranks are
 */
function optionsFor(
  options: RebalancerTransferOptions,
  { numRanks, deadRanks = [], linkClasses: known }: Topology,
): RebalancerTransferOptions {
  const { linkClasses, linkCosts, deadRanks: lost } = options;
  return {
    ...options,
    ...(linkClasses && { linkClasses: fitted('linkClasses', linkClasses, numRanks, known) }),
    ...(linkCosts && { linkCosts: fitted('linkCosts', linkCosts, numRanks) }),
    ...(lost && { deadRanks: [...new Set([...lost.filter((rank) => rank < numRanks), ...deadRanks])] }),
  };
}

function fitted<T>(
  name: string,
  given: readonly (readonly T[])[],
  numRanks: number,
  known?: readonly (readonly T[])[],
): readonly (readonly T[])[] {
  if (given.length >= numRanks) return given.slice(0, numRanks).map((row) => row.slice(0, numRanks));
  if (known !== undefined) return known;
  const advice = name === 'linkClasses' ? 'give changeTopology those of all' : 'make another rebalancer';
  const message = `transfer.${name}: are of ${given.length} ranks, and now there are ${numRanks}; ${advice}`;
  throw new EplbRangeError('EPLB_SHAPE', message);
}

/**
 * A plan of a balancer's, with its transfer made when it is asked for.
 *
 * @throws EplbRangeError `EPLB_SHAPE` for options of fewer ranks than there are now
 */
export function makeTransfer(
  balancer: ExpertLoadBalancer,
  plan: Omit<ExpertTransfer, 'plan'>,
  options: RebalancerTransferOptions,
): ExpertTransfer {
  const { topology } = balancer;
  const fitting = optionsFor(options, topology);
  const gains = plan.forecast && { gains: plan.forecast.gainPerLayer };
  let made: TransferPlan | undefined;
  return {
    ...plan,
    get plan() {
      made ??= planTransfer(plan.from, plan.to, { ...fitting, topology, ...gains });
      return made;
    },
  };
}

/**
 * Moves the weights of a plan to where they will be needed, and resolves when all are there: the mapping goes
 * live then. Rejects when it cannot; the live mapping stays. It settles soon when its signal is aborted.
 */
export type ApplyTransfer = (
  transfer: ExpertTransfer,
  options: { readonly signal: AbortSignal },
) => Promise<void>;

/** Why the mapping of a plan did not go live though it was to. */
export type AbortReason =
  /** What moves the weights failed. */
  | 'failed'
  /** Another mapping went live meanwhile. */
  | 'stale'
  /** The rebalancer was stopped meanwhile. */
  | 'stopped'
  /** The balancer was closed meanwhile. */
  | 'closed';

/** Why a transfer was given up. */
export interface TransferAbort {
  readonly reason: AbortReason;
  /** What it was rejected with. */
  readonly error?: unknown;
}

/**
 * Has weights moved, and tells when they need not be any more. Layers that are committed of the same plan
 * meanwhile are part of it.
 *
 * @returns when it has settled, whatever was told to it; undefined when the mapping may go live
 */
export async function applyTransfer(
  apply: ApplyTransfer,
  balancer: ExpertLoadBalancer,
  transfer: ExpertTransfer,
  stopped: AbortSignal,
): Promise<TransferAbort | undefined> {
  const { sources, isFresh, onClose } = sharedParts(balancer);
  const abort = new AbortController();
  let reason: AbortReason | undefined;
  const giveUp = (why: AbortReason, error: EplbError) => {
    reason ??= why;
    abort.abort(error);
  };
  const { to, generation } = transfer;
  const commits: LoadSource = {
    drain() {},
    committed() {
      if (balancer.mapping === to || isFresh(to, generation)) return;
      giveUp('stale', new EplbError('EPLB_STALE', 'another mapping went live while weights were moved'));
    },
  };
  const onStop = () => giveUp('stopped', new EplbError('EPLB_CANCELLED', 'the rebalancer was stopped'));
  const offClose = onClose(() => giveUp('closed', closedError()));
  stopped.addEventListener('abort', onStop, { once: true });
  sources.add(commits);
  try {
    await apply(transfer, { signal: abort.signal });
    return reason && { reason };
  } catch (error) {
    return { reason: reason ?? 'failed', error };
  } finally {
    sources.delete(commits);
    stopped.removeEventListener('abort', onStop);
    offClose();
  }
}

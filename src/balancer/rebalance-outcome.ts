import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { KeptReason, PlanForecast } from '../policy/decision.ts';
import type { ExpertTransfer, TransferAbort } from './apply-transfer.ts';
import type { RealisedGain } from './gain-record.ts';
import type { ShadowGain } from './shadow.ts';
import type { TopologyChanged } from './topology-change.ts';

/** Why a rebalancer did not plan, or did not keep its plan. */
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
  /** The last two plans gained less than half of what they promised, and this one does not promise more. */
  | 'fell short'
  /** The policy keeps the live mapping. */
  | KeptReason;

/** The outcome of a plan. */
export type RebalanceOutcome =
  /** The mapping waits for `AsyncExpertRebalancer.getPendingMapping`. */
  | {
      readonly status: 'pending';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
      /** From policies that make one. */
      readonly forecast?: PlanForecast;
    }
  /** In shadow mode: it is measured beside the live mapping, and offered to nobody. */
  | {
      readonly status: 'shadowed';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
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
  /** Its weights were moved, and the mapping is live. */
  | {
      readonly status: 'activated';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
      readonly generation: number;
      readonly forecast?: PlanForecast;
    }
  /** Its weights were not moved, or not all; the live mapping stays. */
  | ({
      readonly status: 'aborted';
      readonly mapping: ExpertMapping;
      readonly previous: ExpertMapping;
      readonly forecast?: PlanForecast;
    } & TransferAbort)
  | { readonly status: 'skipped'; readonly reason: SkipReason };

/** The events of a rebalancer, and what their listeners receive. */
export interface RebalancerEvents {
  pending: [outcome: Extract<RebalanceOutcome, { status: 'pending' }>];
  committed: [outcome: Extract<RebalanceOutcome, { status: 'committed' }>];
  shadowed: [outcome: Extract<RebalanceOutcome, { status: 'shadowed' }>];
  /**
   * What a plan of the shadow mode would have gained, measured over a window of steps, or until another plan
   * was made or another mapping went live.
   */
  scored: [gain: ShadowGain];
  /**
   * The balancer's topology changed while the rebalancer runs. The mapping is whole again, the weights of
   * `hostLoads` have to be loaded, and a plan for balance follows at once.
   */
  repaired: [changed: TopologyChanged];
  skipped: [outcome: Extract<RebalanceOutcome, { status: 'skipped' }>];
  /** `apply` has resolved: the weights are where the mapping has them, and the mapping goes live now. */
  prepared: [transfer: ExpertTransfer];
  activated: [outcome: Extract<RebalanceOutcome, { status: 'activated' }>];
  /**
   * The reason, and the error that `apply` was rejected with. Without a listener for this event, a failure is
   * an 'error' of the background loop.
   */
  aborted: [outcome: Extract<RebalanceOutcome, { status: 'aborted' }>];
  /**
   * What a mapping that went live gained, measured over a window of steps, or until another mapping went
   * live.
   */
  realised: [gain: RealisedGain];
  /**
   * An error of the background loop, which continues after a longer pause; or an error of a listener that
   * threw or whose promise was rejected. Without a listener for this event, each error of the loop becomes a
   * process warning, and of those of listeners only the first.
   */
  error: [error: Error];
}

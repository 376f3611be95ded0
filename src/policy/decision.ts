import type { ExpertMapping } from '../mapping/expert-mapping.ts';

/** Why a policy leaves the live mapping as it is. */
export type KeptReason =
  /** There is no sample to plan from. */
  | 'no samples'
  /** No change that the search knows gains anything. */
  | 'nothing better'
  /** Changes gain, but less than the price of their moves. */
  | 'under the price'
  /** The limits on moves leave none. */
  | 'no moves allowed'
  /** The loads have not changed since the live mapping was planned, or are not told from equal ones. */
  | 'within noise'
  /** Its moves take more seconds than it returns while it is expected to stay good. */
  | 'costs more than it returns';

/** What a policy expects of a plan that it made. */
export interface PlanForecast {
  /**
   * `Float64Array[layers]`: what the load of the slowest rank falls by in the mean step, as a share of the
   * mean rank load, without what seems to be gained by chance.
   */
  readonly gainPerLayer: Float64Array;
  /** `Float64Array[layers]`: the same in seconds of a step, by the policy's cost model. */
  readonly secondsPerLayer: Float64Array;
  /** Slots whose expert was not on that rank; over all layers. */
  readonly moves: number;
  /** Bytes of the experts that move. */
  readonly bytes: number;
  /**
   * Steps that the placement is expected to stay good for, in the mean layer: until the loads will have moved
   * on, as they tell, unless the cost model says otherwise.
   */
  readonly steps: number;
  /** Seconds saved in these steps, and seconds the moves take, by the policy's cost model. */
  readonly secondsGained: number;
  readonly secondsSpent: number;
}

/** What became of a plan: a mapping, or the live mapping itself and why it stays. */
export type PlanDecision =
  | {
      readonly status: 'planned';
      readonly mapping: ExpertMapping;
      /** From policies that make one. */
      readonly forecast?: PlanForecast;
    }
  | {
      readonly status: 'kept';
      readonly reason: KeptReason;
      /** The live mapping: the same object. */
      readonly mapping: ExpertMapping;
    };

/** A decision of a balancer, with what it was made from. */
export type BalancerDecision = PlanDecision & {
  /**
   * The generation that was live when the plan began: `commit(mapping, { from: generation })` refuses to
   * replace any other.
   */
  readonly generation: number;
};

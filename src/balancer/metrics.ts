import type { RealisedGain } from './gain-record.ts';

/** The three kinds of experts. */
export const ExpertType = {
  /** An expert of the model. */
  LOGICAL: 'logical',
  /** A slot that holds a copy of a logical expert. */
  PHYSICAL: 'physical',
  /** A slot beyond the first copy of its expert. */
  REDUNDANT: 'redundant',
} as const;
export type ExpertType = (typeof ExpertType)[keyof typeof ExpertType];

/** The tables of a balancer at one moment: copies, the caller's own. All are flat and row-major. */
export interface EplbMetrics {
  readonly numLayers: number;
  /** Slots per layer. */
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
  /** Steps in {@link expertLoadWindow}: the window's size once it is full. */
  readonly numSamples: number;
  /**
   * Worker threads that were started because this balancer's plans wanted more than there were, including
   * those that replaced others.
   */
  readonly workersStarted: number;
  /** How many times a worker thread was woken for a plan of this balancer, including the first time. */
  readonly workersWoken: number;
  /**
   * What the last 16 mappings that went live gained; the last entry is the live one, while it is being
   * measured.
   */
  readonly realisedGains: readonly RealisedGain[];
  /**
   * The gain that a plan has to promise before a rebalancer takes it, in the unit of the gains. It is 0
   * unless the last two plans gained less than half of what they promised.
   */
  readonly gainBar: number;
  /** `[layers x physical]`: the expert of each slot. */
  readonly physicalToLogical: Int32Array;
  /** `[layers x logical x maxReplicas]`: the slots of each expert, padded with -1. */
  readonly logicalToPhysical: Int32Array;
  /** [layers x logical] */
  readonly logicalReplicaCount: Int32Array;
  /** `[layers x physical]`: tokens of the step being recorded. */
  readonly expertLoadPass: Float32Array;
  /**
   * `[samples x layers x physical]`: tokens of the steps in the window, the oldest first, in the slots of the
   * mapping that was live at each step.
   */
  readonly expertLoadWindow: Float32Array;
}

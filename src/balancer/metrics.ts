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
   * Worker threads that were started because this balancer's plans wanted more than there were, and those
   * started in the place of others.
   */
  readonly workersStarted: number;
  /** How often a worker thread was woken to work on a plan of this balancer, its first time included. */
  readonly workersWoken: number;
  /** What the last 16 mappings that went live gained; at last the live one, while it is measured. */
  readonly realisedGains: readonly RealisedGain[];
  /**
   * What a plan has to promise for a rebalancer to take it, in the unit of the gains; 0 unless the last two
   * plans gained less than half of what they promised.
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

import type { StepAnswer } from '../../migration/index.ts';
import type { ServicePlace } from '../service/client.ts';

// What the engine and the processes of its ranks tell each other.

/** What a rank's process is started with. */
export interface RankSetup {
  readonly rank: number;
  readonly incarnation: number;
  readonly place: ServicePlace;
  readonly group: string;
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  readonly numNodes: number;
  readonly expertBytes: number;
  readonly leaseMs: number;
  /** Whether it serves nothing once its lease has run out. */
  readonly stopsWithLease: boolean;
  /** Where the ranks' processes find each other. */
  readonly folder: string;
}

/** From the engine. */
export type ToRank =
  | { readonly type: 'setup'; readonly setup: RankSetup }
  /** Another step begins: may it be served? */
  | { readonly type: 'step'; readonly step: number }
  /** Serve it. */
  | {
      readonly type: 'serve';
      readonly step: number;
      /** [layers x experts]: tokens of each expert. */
      readonly loads: Float32Array;
      /** Who serves it too. */
      readonly serving: readonly number[];
    }
  | { readonly type: 'end' };

/** What a rank has done with the weights of a mapping. */
export interface HeldWeights {
  readonly epoch: number;
  /** Experts that came from other ranks, from another slot of this one, and from the checkpoint. */
  readonly numReceived: number;
  readonly numCopied: number;
  readonly numLoaded: number;
  readonly numSlots: number;
  /** Slots whose content is not what the mapping has there. */
  readonly wrong: readonly string[];
}

/** From a rank. */
export type FromRank =
  | { readonly type: 'ready' }
  | { readonly type: 'answer'; readonly step: number; readonly answer: StepAnswer }
  | { readonly type: 'served'; readonly step: number; readonly tokens: number }
  /** It swapped to an epoch, or loaded one anew. */
  | { readonly type: 'holds'; readonly isRestored: boolean; readonly weights: HeldWeights }
  | { readonly type: 'refused'; readonly epoch: number; readonly reason: string }
  /** Whether the service answers. */
  | { readonly type: 'service'; readonly isThere: boolean; readonly reason: string };

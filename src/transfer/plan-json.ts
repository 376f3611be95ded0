import type { TransferLayer } from './layer.ts';
import type { ExpertTensor, TransferMode, TransferSchedule } from './options.ts';

/** What crosses links. */
export interface TransferFigures {
  /** Of all layers together. */
  readonly numRounds: number;
  readonly numTransfers: number;
  readonly bytes: number;
  /** By class of link. */
  readonly bytesByLink: Readonly<Record<string, number>>;
}

/** A plan without its operations. */
export interface TransferPlanHead extends TransferFigures {
  readonly numLayers: number;
  /** Slots per layer. */
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
  readonly numRanks: number;
  readonly numNodes: number;
  /** `[ranks]`: the node of each; left out where nodes have equally many. */
  readonly nodeOfRank?: readonly number[];
  readonly mode: TransferMode;
  /** Staging slots of a rank; 0 when buffered. */
  readonly staging: number;
  readonly duplex: 'full' | 'half';
  readonly relay: boolean;
  readonly deadRanks: readonly number[];
  /** null: any number. */
  readonly maxBytesInFlight: number | null;
  readonly bytesPerExpert: number;
  readonly bundle: readonly ExpertTensor[] | null;
  /** The link model's name; null without one. */
  readonly cost: string | null;
  /** Whether a layer's rounds may be issued together. */
  readonly schedule: TransferSchedule;
  /** Why it is that. */
  readonly scheduleReason: string;
  /** How many rounds may be issued together, in their order: 1 for 'rounds'; null: all of a layer. */
  readonly roundsPerBatch: number | null;
  /** By the link model, layer after layer, without copies and loads from the host; null without one. */
  readonly seconds: number | null;
  /** The same by either schedule; null for one that cannot be. */
  readonly secondsIn: { readonly rounds: number; readonly batch: number | null } | null;
  /** The least rounds, and the least seconds however they are issued. */
  readonly bounds: { readonly rounds: number; readonly seconds: number | null };
  /**
   * Staging that the undone slots of the layer with most of them need, over all ranks; 0 when there are none.
   */
  readonly stagingBytes: number;
}

/** The digests of the mappings that a plan leads from and to: as `ExpertMapping.digest()` gives them. */
export interface TransferDigests {
  readonly from: string;
  readonly to: string;
}

/** A plan as plain data; schemas/transfer.schema.json describes it. */
export interface TransferPlanJson extends TransferPlanHead {
  readonly kind: 'transfer-plan';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly digests: TransferDigests;
  readonly layers: readonly TransferLayer[];
}

/** The fields of a plan's head in one order, so that equal plans have equal bytes. */
export function orderedHead(head: TransferPlanHead): TransferPlanHead {
  return {
    numLayers: head.numLayers,
    numPhysicalExperts: head.numPhysicalExperts,
    numLogicalExperts: head.numLogicalExperts,
    numRanks: head.numRanks,
    numNodes: head.numNodes,
    ...(head.nodeOfRank && { nodeOfRank: head.nodeOfRank }),
    mode: head.mode,
    staging: head.staging,
    duplex: head.duplex,
    relay: head.relay,
    deadRanks: head.deadRanks,
    maxBytesInFlight: head.maxBytesInFlight,
    bytesPerExpert: head.bytesPerExpert,
    bundle: head.bundle,
    cost: head.cost,
    schedule: head.schedule,
    scheduleReason: head.scheduleReason,
    roundsPerBatch: head.roundsPerBatch,
    seconds: head.seconds,
    secondsIn: head.secondsIn,
    numRounds: head.numRounds,
    numTransfers: head.numTransfers,
    bytes: head.bytes,
    bytesByLink: head.bytesByLink,
    bounds: head.bounds,
    stagingBytes: head.stagingBytes,
  };
}

import type { LinkClass } from '../cost/cost-json.ts';

/** A place that weights can be read from. */
export interface RankSlot {
  readonly rank: number;
  /** Counted within the rank; from slots-per-rank on they are its buffer or staging slots. */
  readonly slot: number;
}

/** An expert's weights on their way from one slot to another. */
interface SlotToSlot {
  readonly expert: number;
  readonly sourceRank: number;
  /** Counted within the rank, as {@link RankSlot.slot}. */
  readonly sourceSlot: number;
  readonly targetRank: number;
  readonly targetSlot: number;
  readonly bytes: number;
}

/** An expert's weights on their way from one rank to another. */
export interface Transfer extends SlotToSlot {
  /** The class of the link. */
  readonly link: LinkClass;
  /**
   * Other live ranks that had the expert at the start, the cheapest link first: where the source fails. In
   * place they are good as long as the slot was not overwritten.
   */
  readonly fallbacks?: readonly RankSlot[];
}

/** A copy between two slots of one rank: its source and target ranks are the same. */
export interface TransferCopy extends SlotToSlot {
  /**
   * When: after so many rounds; of the same step in the order that they are listed. Loads from the host come
   * behind the copies of step `rounds.length`, and those of step `rounds.length + 1` behind them: in buffered
   * mode the activation, and all that writes to slots.
   */
  readonly step: number;
}

/** An expert that no live rank has: it comes from the host's memory or its disk. */
export interface HostLoad {
  readonly expert: number;
  readonly targetRank: number;
  readonly targetSlot: number;
  readonly bytes: number;
}

/** A slot that is to hold an expert and does not get it. */
export interface UndoneSlot {
  readonly expert: number;
  readonly targetRank: number;
  readonly targetSlot: number;
  readonly bytes: number;
  /** Its rank is dead, or it is on a cycle of slots and there is no staging slot. */
  readonly reason: 'deadRank' | 'staging';
}

/** The least that a layer needs. */
export interface LayerBounds {
  /** Experts that the busiest sender sends, with the sources as chosen: no choice has fewer. */
  readonly mostSent: number;
  /** Experts that the busiest receiver receives. */
  readonly mostReceived: number;
  /**
   * Rounds: the larger of the two; at half duplex of their sums by rank, or what any three ranks have among
   * themselves; with relays what each receives, and how fast an expert can spread.
   */
  readonly rounds: number;
}

/** What moves in one layer. */
export interface TransferLayer {
  readonly layer: number;
  /** In each a rank sends at most one expert and receives at most one; at half duplex one of the two. */
  readonly rounds: readonly (readonly Transfer[])[];
  readonly copies: readonly TransferCopy[];
  readonly hostLoads: readonly HostLoad[];
  /** Slots that are empty afterwards and were not before. */
  readonly clears: readonly RankSlot[];
  readonly undone: readonly UndoneSlot[];
  readonly bounds: LayerBounds;
  /** Buffer or staging slots that the rank which uses most of them uses. */
  readonly extraSlots: number;
  /** What the undone slots that wait for staging need: an expert for every cycle. */
  readonly stagingBytes: number;
  /** By the link model, as the plan's schedule says; null without one. */
  readonly seconds: number | null;
}

/** The rounds of a layer, flat. */
export interface LayerSchedule {
  readonly layer: number;
  readonly count: number;
  readonly experts: Int32Array;
  readonly sources: Int32Array;
  readonly targets: Int32Array;
  readonly rounds: Int32Array;
  /** The class of each link, an index of the plan's classes. */
  readonly links: Uint16Array;
  readonly numRounds: number;
  readonly hostExperts: Int32Array;
  readonly hostTargets: Int32Array;
  readonly changedSlots: number;
  readonly bounds: LayerBounds;
}

/** The operations of a layer, without what follows from them. */
export type LayerOperations = Pick<
  TransferLayer,
  'rounds' | 'copies' | 'hostLoads' | 'clears' | 'undone' | 'extraSlots' | 'stagingBytes'
>;

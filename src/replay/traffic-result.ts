import type { LinkTraffic } from '../index.ts';

/** At most this many ranks have a number for each pair in a {@link TrafficFigures}. */
export const MAX_PAIR_RANKS = 64;

/** Which links tokens took in a replay, means of a step over all layers. */
export interface ReplayTraffic {
  /**
   * 'routes': a rank gets a token once, however many of the token's experts it has. 'loads': every token of
   * an expert is a transfer of its own.
   */
  readonly countedFrom: 'routes' | 'loads';
  /**
   * 'given': the recording says on which ranks tokens begin. 'uniform': it does not, or of another number of
   * ranks, and they are taken to be on all that live alike.
   */
  readonly sources: 'given' | 'uniform';
  /** Under the live mappings. */
  readonly live: TrafficFigures;
  /** The same steps under the first mapping, never changed. */
  readonly unbalanced: TrafficFigures;
}

/** What tokens a step sends over links, added over the layers. */
export interface TrafficFigures {
  /** Tokens that ranks get, those that were there among them. */
  readonly tokens: number;
  /** Those that were there: they take no link. */
  readonly localTokens: number;
  /** By class of link. */
  readonly links: readonly LinkFigures[];
  /** [ranks][ranks], tokens from each rank to each; null of more than {@link MAX_PAIR_RANKS}. */
  readonly rankPairs: readonly (readonly number[])[] | null;
}

/** A class of links. */
export interface LinkFigures extends Omit<LinkTraffic, 'bytes'> {
  /** Dispatch and combine together; null where the cost model does not say what a token takes. */
  readonly bytes: number | null;
}

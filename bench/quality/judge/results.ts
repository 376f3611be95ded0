import type { Setting, Source } from './settings.ts';

/** What one planner made of one setting. */
export interface Outcome {
  /** Sum of mean rank loads / sum of maximum rank loads, over steps and layers. */
  readonly balancedness: number;
  /** Of a plan, in the mean; a share of all slots. */
  readonly moves: number;
  /** Over all plans, and over those after the first: see Planned and PlayedPlan. */
  readonly foreseenGain: number;
  readonly realisedGain: number;
  readonly laterForeseenGain: number;
  readonly laterRealisedGain: number;
  /** On the steps after the third plan. */
  readonly settledBalancedness: number;
  /** Of all plans after the third one together; a share of all slots. */
  readonly settledMoves: number;
}

export interface SettingResult {
  readonly kind: 'setting';
  readonly setting: Setting;
  readonly outcomes: Readonly<Record<string, Outcome>>;
  /** Where the adaptive policy moved more: held to a quarter of the default policy's moves in each plan. */
  readonly quarter?: Outcome;
  /**
   * On stationary loads, in hindsight: the best of all planners' mappings, had it stayed since the third
   * plan. Late ones were fitted to the very steps that score them here.
   */
  readonly best?: { readonly planner: string; readonly balancedness: number };
}

/** A window of 64 steps, and plans more and less often, on the same steps. */
export interface IntervalResult {
  readonly kind: 'intervals';
  readonly source: Source;
  readonly byInterval: readonly IntervalOutcome[];
}

export interface IntervalOutcome {
  readonly interval: number;
  /** Balancedness, and moves a slot and step. */
  readonly adaptive: { readonly balancedness: number; readonly movesPerStep: number };
  readonly default: { readonly balancedness: number; readonly movesPerStep: number };
}

/** Draws from equal means: windows one after the other, and first plans each on its own. */
export interface NoiseResult {
  readonly kind: 'noise';
  readonly windows: number;
  /** A share of all slots, of all plans together. */
  readonly moves: number;
}

export interface TrialsResult {
  readonly kind: 'trials';
  readonly trials: number;
  readonly withMoves: number;
  /** Shares of the slots: over all trials, and in the worst one. */
  readonly moves: number;
  readonly mostMoves: number;
}

export type Result = SettingResult | IntervalResult | NoiseResult | TrialsResult;

/**
 * What a policy reckons gains in, when that is time: by it the gain that a plan is forecast is compared with
 * the one that came. A policy without one counts in shares of the mean rank load.
 */
export interface GainScale {
  /** Of a layer whose ranks all have the mean load; undefined where time goes by load. */
  readonly secondsAtBalance: number | undefined;
  readonly secondsPerLoad: number;
  /** The load of a slot with so many tokens; undefined where that is its tokens. */
  readonly slotLoad: ((tokens: number) => number) | undefined;
}

export interface Move {
  gain: number;
  slot: number;
  /** The slot it is exchanged with, or -1: then a copy of `expert` replaces it. */
  other: number;
  expert: number;
}

/**
 * Keeps the best move offered: the first of equals, and a forbidden one only when it leads past the best
 * known.
 */
export class MoveFinder {
  best: Move = { gain: -Infinity, slot: -1, other: -1, expert: -1 };
  evaluations = 0;
  readonly #tabu: readonly number[][];
  readonly #step: number;
  readonly #toBest: number;

  constructor(tabu: readonly number[][], step: number, toBest: number) {
    this.#tabu = tabu;
    this.#step = step;
    this.#toBest = toBest;
  }

  /** `arrivals`: which expert comes to which node. */
  offer(move: Move, arrivals: readonly [node: number, expert: number][]): void {
    if (move.gain <= this.best.gain) return;
    const isTabu = arrivals.some(([node, expert]) => this.#tabu[node]![expert]! > this.#step);
    if (!isTabu || move.gain > this.#toBest) this.best = move;
  }
}

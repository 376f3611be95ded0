/** Steps that are looked at together. */
const RUN = 10;
/** Less than this share of the tokens is no other load. */
const LEAST_SHARE = 0.1;
/** And it has to be so many times what chance, or a slow drift, moved in the runs before. */
const TIMES_USUAL = 3;

/** Tells when tokens go to other experts than before, as when what is asked of a model changes. */
export class LoadShift {
  readonly #numExperts: number;
  /** [layers x experts]: sums over this run of steps, and shares of a layer's tokens in the run before. */
  readonly #sums: Float64Array;
  readonly #before: Float64Array;
  #numSteps = 0;
  #usual: number | undefined;

  constructor(numLayers: number, numExperts: number) {
    this.#numExperts = numExperts;
    this.#sums = new Float64Array(numLayers * numExperts);
    this.#before = new Float64Array(numLayers * numExperts);
  }

  /**
   * Takes a step's loads, [layers x experts].
   *
   * @returns what share of the tokens went elsewhere since `numSteps` steps ago, when that is new
   */
  take(loads: Float32Array): { readonly share: number; readonly numSteps: number } | undefined {
    for (const [i, load] of loads.entries()) this.#sums[i]! += load;
    if (++this.#numSteps % RUN !== 0) return undefined;
    const share = this.#shareMoved();
    this.#sums.fill(0);
    // There is nothing before the first run.
    if (this.#numSteps === RUN) return undefined;
    const usual = this.#usual;
    // Half of it is of the newest run: of a change in the midst of a run only the first half is new.
    this.#usual = usual === undefined ? share : (usual + share) / 2;
    const isNew = usual !== undefined && share > Math.max(LEAST_SHARE, TIMES_USUAL * usual);
    return isNew ? { share, numSteps: RUN } : undefined;
  }

  /** Of the tokens of all layers. Makes this run the one before. */
  #shareMoved(): number {
    let moved = 0;
    const numLayers = this.#sums.length / this.#numExperts;
    for (let layer = 0; layer < numLayers; layer++) {
      const first = layer * this.#numExperts;
      const sums = this.#sums.subarray(first, first + this.#numExperts);
      const total = sums.reduce((sum, load) => sum + load, 0);
      for (let expert = 0; expert < this.#numExperts; expert++) {
        const share = total === 0 ? 0 : sums[expert]! / total;
        moved += Math.abs(share - this.#before[first + expert]!) / 2;
        this.#before[first + expert] = share;
      }
    }
    return moved / numLayers;
  }
}

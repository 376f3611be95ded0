import type { OpenOperation } from './group-state.ts';
import type { MigrationPhase } from './outcome.ts';

/** What ranks have answered to an operation. Not in the journal: they are asked again after a restart. */
export class OperationProgress {
  phase: MigrationPhase;
  /** Whether a rank may have promised its last step. */
  mayBeArmed = false;
  readonly #layers: readonly number[];
  readonly #prepared: (Set<number> | undefined)[];
  readonly #lastSteps: (number | undefined)[];
  readonly #confirmed: boolean[];

  constructor({ firstStep, target }: OpenOperation, numRanks: number) {
    this.phase = firstStep === undefined ? 'preparing' : 'activating';
    this.#layers = target.layers;
    this.#prepared = Array.from({ length: numRanks });
    this.#lastSteps = Array.from({ length: numRanks });
    this.#confirmed = Array.from({ length: numRanks }, () => false);
  }

  prepared(rank: number, layers: readonly number[]): void {
    let known = this.#prepared[rank];
    if (known === undefined) {
      known = new Set();
      this.#prepared[rank] = known;
    }
    for (const layer of layers) if (this.#layers.includes(layer)) known.add(layer);
  }

  hasPrepared(rank: number, layer: number): boolean {
    return this.#prepared[rank]?.has(layer) ?? false;
  }

  /** Who has promised its last step has prepared all layers. */
  armed(rank: number, lastStep: number): void {
    this.prepared(rank, this.#layers);
    this.#lastSteps[rank] = lastStep;
  }

  confirmed(rank: number): void {
    this.#confirmed[rank] = true;
  }

  /** Whether a rank has answered what the phase asks. */
  hasAnswered(rank: number): boolean {
    if (this.phase === 'activating') return this.#confirmed[rank]!;
    if (this.phase === 'arming') return this.#lastSteps[rank] !== undefined;
    return this.#prepared[rank]?.size === this.#layers.length;
  }

  /** The last step that any of these ranks may serve at the old epoch. */
  lastOldStep(ranks: readonly number[]): number {
    return Math.max(...ranks.map((rank) => this.#lastSteps[rank]!));
  }
}

import { isOwnError } from '../../core/errors.ts';
import type { ExpertMapping } from '../../index.ts';
import type { OperationOutcome } from '../../migration/outcome.ts';
import { type Held, held } from '../live-epochs.ts';
import { type Damage, damageOf, layersBetween } from './damage.ts';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** A repair to offer, or why none is possible. */
export type FoundRepair =
  | { readonly status: 'found'; readonly target: Held; readonly reasons: readonly string[] }
  | { readonly status: 'impossible'; readonly message: string; readonly reasons: readonly string[] };

/** Says when a group's live mapping is to be repaired: after one that was aborted not at once again. */
export class RepairDesk {
  /** The speeds that the live mapping makes up for, and those of the repair that was found last. */
  #speedDone: string;
  #speedFound: string;
  /** What was looked at last and has no repair. */
  #settledKey = '';
  #numFailed = 0;
  #notBeforeMs: number | undefined;

  readonly #repairOf: (damage: Damage) => ExpertMapping;

  /** @param speed of the ranks by now */
  constructor(repairOf: (damage: Damage) => ExpertMapping, speed: readonly number[] | null) {
    this.#repairOf = repairOf;
    this.#speedDone = String(speed);
    this.#speedFound = this.#speedDone;
  }

  /** Whether speeds have changed since the last repair. */
  isDueFor(speed: readonly number[] | null): boolean {
    return String(speed) !== this.#speedDone;
  }

  /** When to look again, if something waits for that. */
  get nextTryMs(): number | undefined {
    return this.#notBeforeMs;
  }

  /** How an attempt has ended: one of a repair that was aborted is made again later. */
  ended(id: string, { status }: OperationOutcome, nowMs: number): void {
    if (!id.startsWith('repair-')) return;
    if (status !== 'aborted') {
      this.#numFailed = 0;
      this.#notBeforeMs = undefined;
      this.#speedDone = this.#speedFound;
      return;
    }
    this.#notBeforeMs = nowMs + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#numFailed);
    this.#numFailed = Math.min(this.#numFailed + 1, 10);
  }

  /** The repair that a damage needs; undefined when there is nothing to do, or not yet. */
  find(damage: Damage, liveDigest: string, nowMs: number): FoundRepair | undefined {
    if (this.#notBeforeMs !== undefined && nowMs < this.#notBeforeMs) return undefined;
    this.#notBeforeMs = undefined;
    const reasons = damageOf(damage);
    const key = reasons.length === 0 ? '' : `${liveDigest} ${damage.deadRanks} ${damage.speed} ${reasons}`;
    if (key === this.#settledKey || reasons.length === 0) return undefined;
    let target: Held;
    try {
      target = held(this.#repairOf(damage));
    } catch (error) {
      this.#settledKey = key;
      if (!isOwnError(error)) throw error;
      return { status: 'impossible', message: error.message, reasons };
    }
    this.#speedFound = String(damage.speed);
    if (layersBetween(damage.live, target.mapping).length > 0) return { status: 'found', target, reasons };
    this.#settledKey = key;
    this.#speedDone = this.#speedFound;
    return undefined;
  }
}

import { EplbError } from '../core/errors.ts';
import type { ExpertMapping } from './expert-mapping.ts';

/**
 * Which mapping is live, how often it was replaced, and from which generation each waiting plan was made: so
 * that a plan cannot undo what went live while it was made. Knows nothing of loads or memory.
 */
export class LiveMapping {
  #mapping: ExpertMapping;
  #generation: number;
  /** Of each mapping that was planned and never live: the generation it was planned from. */
  readonly #plannedFrom = new WeakMap<ExpertMapping, number>();
  readonly #wasLive = new WeakSet<ExpertMapping>();

  constructor(first: ExpertMapping, generation = 0) {
    this.#mapping = first;
    this.#generation = generation;
    this.#wasLive.add(first);
  }

  get mapping(): ExpertMapping {
    return this.#mapping;
  }

  /** How often the live mapping was replaced. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Remembers from which generation a mapping was planned. One that was live before may go live again at any
   * time.
   */
  notePlan(mapping: ExpertMapping, generation: number): void {
    if (!this.#wasLive.has(mapping)) this.#plannedFrom.set(mapping, generation);
  }

  /**
   * Refuses a mapping that was planned from another generation than the live one. Mappings made elsewhere and
   * those that once were live are not checked, unless `from` says what they were made from.
   *
   * @throws EplbError `EPLB_STALE`
   */
  checkFresh(mapping: ExpertMapping, from = this.#plannedFrom.get(mapping)): void {
    if (from === undefined || from === this.#generation) return;
    throw new EplbError(
      'EPLB_STALE',
      `mapping: is made from generation ${from}, but ${this.#generation} is live by now: plan again`,
    );
  }

  /** Makes another mapping the live one. */
  replace(mapping: ExpertMapping): void {
    this.#mapping = mapping;
    this.#generation++;
    this.#wasLive.add(mapping);
    this.#plannedFrom.delete(mapping);
  }
}

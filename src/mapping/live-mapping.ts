import { EplbError } from '../core/errors.ts';
import type { ExpertMapping } from './expert-mapping.ts';

/**
 * Which mapping is live, how often it was replaced, and from which generation each waiting plan was made: so
 * that a plan cannot undo what went live while it was made. Knows nothing of loads or memory.
 */
export class LiveMapping {
  #mapping: ExpertMapping;
  #generation: number;
  readonly #first: ExpertMapping;
  /** Of each mapping that was planned and never live: the generation it was planned from. */
  readonly #plannedFrom = new WeakMap<ExpertMapping, number>();
  /** Of each mapping that was planned: how many steps had been recorded. */
  readonly #plannedAt = new WeakMap<ExpertMapping, number>();
  /** Steps that had been recorded when the live mapping was planned, or committed. */
  #since = 0;
  readonly #wasLive = new WeakSet<ExpertMapping>();

  constructor(first: ExpertMapping, generation = 0) {
    this.#first = first;
    this.#mapping = first;
    this.#generation = generation;
    this.#wasLive.add(first);
  }

  get mapping(): ExpertMapping {
    return this.#mapping;
  }

  /** Whether the live mapping is the first one, which was made for no loads. */
  get isFirst(): boolean {
    return this.#mapping === this.#first;
  }

  /**
   * Steps that had been recorded when the live mapping was planned; or committed, when it was not planned
   * here.
   */
  get since(): number {
    return this.#since;
  }

  /** How often the live mapping was replaced. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Remembers from which generation, and after how many steps, a mapping was planned. One that was live
   * before may go live again at any time.
   */
  notePlan(mapping: ExpertMapping, generation: number, numSteps: number): void {
    this.#plannedAt.set(mapping, numSteps);
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

  /** Whether the live mapping was planned here: then it is known when, whenever it is live again. */
  get isPlanned(): boolean {
    return this.#plannedAt.has(this.#mapping);
  }

  /** Goes on with a mapping that was live elsewhere, of which these were true there. */
  resume(mapping: ExpertMapping, isPlanned: boolean, since: number): void {
    if (isPlanned) this.#plannedAt.set(mapping, since);
    if (mapping !== this.#mapping) this.replace(mapping, since);
    this.#since = since;
  }

  /** Makes another mapping the live one. @param numSteps that have been recorded */
  replace(mapping: ExpertMapping, numSteps: number): void {
    this.#since = this.#plannedAt.get(mapping) ?? numSteps;
    this.#mapping = mapping;
    this.#generation++;
    this.#wasLive.add(mapping);
    this.#plannedFrom.delete(mapping);
  }
}

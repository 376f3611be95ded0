import { EplbError } from '../core/errors.ts';
import type { ExpertMapping } from './expert-mapping.ts';
import { joinLayers } from './join-layers.ts';

/** What a mapping on its way was made from. */
interface MadeFrom {
  /** The generation that was live then. */
  readonly generation: number;
  /** The one that is live when nothing but layers of this very mapping went live since. */
  readonly now: number;
  /** Whether it was planned here: all others are checked only by what the caller says. */
  readonly isPlanned: boolean;
}

/**
 * Which mapping is live, how often it was replaced, and from which generation each waiting plan was made: so
 * that a plan cannot undo what went live while it was made. Knows nothing of loads or memory.
 */
export class LiveMapping {
  #mapping: ExpertMapping;
  #generation: number;
  #first: ExpertMapping;
  /** Of each layer, the mapping that was committed there. */
  #layers: readonly ExpertMapping[];
  /** Of mappings that were planned, or that layers were committed of, and that were never live as a whole. */
  readonly #madeFrom = new WeakMap<ExpertMapping, MadeFrom>();
  /** Of each mapping that was planned: how many steps had been recorded. */
  readonly #plannedAt = new WeakMap<ExpertMapping, number>();
  /** Steps that had been recorded when the live mapping was planned, or committed. */
  #since = 0;
  #relaidAt = 0;
  readonly #wasLive = new WeakSet<ExpertMapping>();

  constructor(first: ExpertMapping, generation = 0) {
    this.#first = first;
    this.#mapping = first;
    this.#layers = layersOf(first);
    this.#generation = generation;
    this.#wasLive.add(first);
  }

  get mapping(): ExpertMapping {
    return this.#mapping;
  }

  /** Whether a mapping is the first one, which was made for no loads. */
  isFirst(mapping: ExpertMapping): boolean {
    return mapping === this.#first;
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
    if (!this.#wasLive.has(mapping))
      this.#madeFrom.set(mapping, { generation, now: generation, isPlanned: true });
  }

  /**
   * Whether a mapping was made from the live generation. What is left of one whose layers go live one after
   * the other is so, while nothing else does: of the generation that all of it was made from. Mappings made
   * elsewhere and those that once were live always are, unless `from` says what they were made from.
   */
  isFresh(mapping: ExpertMapping, from?: number): boolean {
    return this.#madeFromNow(mapping, from) === this.#generation;
  }

  /** @throws EplbError `EPLB_STALE` unless {@link isFresh} */
  checkFresh(mapping: ExpertMapping, from?: number): void {
    if (this.isFresh(mapping, from)) return;
    const message = `is made from generation ${this.#madeFromNow(mapping, from)}`;
    throw new EplbError(
      'EPLB_STALE',
      `mapping: ${message}, but ${this.#generation} is live by now: plan again`,
    );
  }

  #madeFromNow(mapping: ExpertMapping, from: number | undefined): number {
    const known = this.#madeFrom.get(mapping);
    if (from === undefined) return known?.isPlanned ? known.now : this.#generation;
    return known?.generation === from ? known.now : from;
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
    this.#since = this.sinceOf(mapping, numSteps);
    this.#goLive(mapping, layersOf(mapping));
  }

  /**
   * Makes what other ranks made of the live mapping the live one: all that was made from it before is stale.
   * @param numSteps that have been recorded
   */
  relay(mapping: ExpertMapping, numSteps: number): void {
    if (this.isFirst(this.#mapping)) this.#first = mapping;
    this.replace(mapping, numSteps);
    this.#relaidAt = this.#generation;
  }

  /** The generation that other ranks began with. */
  get relaidAt(): number {
    return this.#relaidAt;
  }

  /**
   * What is live when layers of a mapping are: that mapping itself once all layers are of it; the live one
   * where the named layers are already.
   */
  joined(next: ExpertMapping, layers: ReadonlySet<number>): ExpertMapping {
    if (this.#layers.every((mapping, layer) => mapping === next || !layers.has(layer))) return this.#mapping;
    if (this.#layers.every((mapping, layer) => mapping === next || layers.has(layer))) return next;
    return joinLayers(this.#mapping, next, layers);
  }

  /**
   * Makes what {@link joined} made of some layers the live mapping. Its age is that of the newest layer.
   *
   * @param from the generation that `next` was made from, if that was said
   */
  replaceLayers(
    mapping: ExpertMapping,
    next: ExpertMapping,
    layers: ReadonlySet<number>,
    numSteps: number,
    from?: number,
  ): void {
    const { generation = from, isPlanned = false } = this.#madeFrom.get(next) ?? {};
    const isCarriedOn = this.isFresh(next, from);
    this.#since = Math.max(this.#since, this.sinceOf(next, numSteps));
    this.#plannedAt.set(mapping, this.#since);
    const joined = this.#layers.map((other, layer) => (layers.has(layer) ? next : other));
    this.#goLive(mapping, joined);
    // What was forced to go live is not carried on: its other layers were not made from what is live.
    if (isCarriedOn && generation !== undefined)
      this.#madeFrom.set(next, { generation, now: this.#generation, isPlanned });
  }

  /** As {@link since}, of a mapping that goes live now. @param numSteps that have been recorded */
  sinceOf(mapping: ExpertMapping, numSteps: number): number {
    return this.#plannedAt.get(mapping) ?? numSteps;
  }

  #goLive(mapping: ExpertMapping, layers: readonly ExpertMapping[]): void {
    this.#mapping = mapping;
    this.#layers = layers;
    this.#generation++;
    this.#wasLive.add(mapping);
    this.#madeFrom.delete(mapping);
  }
}

function layersOf(mapping: ExpertMapping): ExpertMapping[] {
  return Array.from({ length: mapping.numLayers }, () => mapping);
}

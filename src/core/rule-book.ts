import { EplbRangeError } from './errors.ts';
import { openSlotsOfRanks } from './open-slots.ts';
import { NO_LIMIT, type PinnedExperts, type PlacementRules, type SingleExperts } from './placement-rules.ts';
import type { Topology } from './topology.ts';

/** What the rules say of one layer, of the ranks that live. */
export interface LayerRules {
  /** Of experts that are pinned, the ranks that hold a copy of each, rising. */
  readonly pins: ReadonlyMap<number, readonly number[]>;
  /**
   * Int32Array[logical]: the most copies of each, NO_LIMIT where no rule says so. An expert that is pinned
   * and has no more copies than pins is on no other rank.
   */
  readonly mostCopies: Int32Array;
}

type Ruled = Pick<
  Topology,
  | 'numLayers'
  | 'numLogicalExperts'
  | 'numPhysicalExperts'
  | 'numRanks'
  | 'slotsPerRank'
  | 'deadRanks'
  | 'rules'
>;

/** The rules of a checked topology, layer by layer. Layers of which they say the same have one object. */
export class RuleBook {
  readonly #topology: Ruled;
  readonly #pinned: readonly PinnedExperts[];
  readonly #single: readonly SingleExperts[];
  /** [layers] of rules that are for some layers only; of others nothing. */
  readonly #layersOfPins: readonly (ReadonlySet<number> | undefined)[];
  readonly #layersOfSingles: readonly (ReadonlySet<number> | undefined)[];
  readonly #made = new Map<string, LayerRules>();

  constructor(topology: Ruled) {
    this.#topology = topology;
    this.#pinned = topology.rules?.pinned ?? [];
    this.#single = topology.rules?.neverReplicated ?? [];
    const setOf = ({ layers }: SingleExperts) => layers && new Set(layers);
    this.#layersOfPins = this.#pinned.map(setOf);
    this.#layersOfSingles = this.#single.map(setOf);
  }

  /** Whether all layers have the same rules. */
  get isSameForAll(): boolean {
    const isForAll = (layers: ReadonlySet<number> | undefined) => layers === undefined;
    return this.#layersOfPins.every(isForAll) && this.#layersOfSingles.every(isForAll);
  }

  /** @throws EplbRangeError `EPLB_RULES` for rules that contradict each other */
  layer(layer: number): LayerRules {
    const isFor = (layers: ReadonlySet<number> | undefined) => layers === undefined || layers.has(layer);
    const arePinned = this.#layersOfPins.map(isFor);
    const areSingle = this.#layersOfSingles.map(isFor);
    const pinned = this.#pinned.filter((_, i) => arePinned[i]);
    const single = this.#single.filter((_, i) => areSingle[i]);
    const key = [arePinned, areSingle].map((each) => each.map(Number).join('')).join();
    const made = this.#made.get(key) ?? makeLayer(this.#topology, layer, pinned, single);
    this.#made.set(key, made);
    return made;
  }
}

/** The book of a topology's rules; undefined where it has none that say where experts are. */
export function ruleBookOf(topology: Ruled): RuleBook | undefined {
  const { pinned, neverReplicated } = topology.rules ?? {};
  return pinned === undefined && neverReplicated === undefined ? undefined : new RuleBook(topology);
}

function makeLayer(
  { numLogicalExperts, deadRanks = [] }: Ruled,
  layer: number,
  pinned: readonly PinnedExperts[],
  single: readonly SingleExperts[],
): LayerRules {
  const all = new Map<number, Set<number>>();
  const only = new Map<number, readonly number[]>();
  for (const { experts, ranks, only: isOnly = false } of pinned) {
    if (ranks.length === 0) continue;
    for (const expert of experts) {
      const own = all.get(expert) ?? new Set();
      all.set(expert, own);
      for (const rank of ranks) own.add(rank);
      if (isOnly) only.set(expert, ranks);
    }
  }
  const mostCopies = new Int32Array(numLogicalExperts).fill(NO_LIMIT);
  for (const { experts } of single) {
    if (experts === undefined) mostCopies.fill(1);
    else for (const expert of experts) mostCopies[expert] = 1;
  }
  const pins = new Map<number, readonly number[]>();
  for (const [expert, own] of all) {
    const ranks = [...own].sort((a, b) => a - b);
    checkPins(layer, expert, ranks, only.get(expert), mostCopies[expert] === 1);
    const live = ranks.filter((rank) => !deadRanks.includes(rank));
    if (live.length === 0) continue;
    pins.set(expert, live);
    if (only.has(expert)) mostCopies[expert] = live.length;
  }
  return { pins, mostCopies };
}

/** @throws EplbRangeError `EPLB_RULES` */
function checkPins(
  layer: number,
  expert: number,
  ranks: readonly number[],
  only: readonly number[] | undefined,
  isSingle: boolean,
): void {
  const where = `expert ${expert} in layer ${layer}`;
  if (only !== undefined && only.length < ranks.length) {
    const others = ranks.filter((rank) => !only.includes(rank));
    throw rulesError(
      `rules.pinned: ${where} is to be on ${named(only)} only, and on ${named(others)} as well: ` +
        'leave out one of both, or name all ranks in both',
    );
  }
  if (isSingle && ranks.length > 1) {
    throw rulesError(
      `rules.neverReplicated: ${where} is pinned to ${named(ranks)}, a copy on each: pin it to one rank, ` +
        'or let it be replicated',
    );
  }
}

function named(ranks: readonly number[]): string {
  return `${ranks.length === 1 ? 'rank' : 'ranks'} ${ranks.join(', ')}`;
}

function rulesError(message: string): EplbRangeError {
  return new EplbRangeError('EPLB_RULES', message);
}

/**
 * Refuses rules that no placement can keep.
 *
 * @param topology checked but for that
 * @throws EplbRangeError `EPLB_RULES`, which says what is too much, and what would be right
 */
export function checkFeasible(topology: Ruled): void {
  const book = ruleBookOf(topology);
  if (book === undefined) return;
  const open = openSlotsOfRanks(topology);
  const seen = new Set<LayerRules>();
  const numLayers = book.isSameForAll ? 1 : topology.numLayers;
  for (let layer = 0; layer < numLayers; layer++) {
    const rules = book.layer(layer);
    if (!seen.has(rules)) checkRoom(layer, rules, open);
    seen.add(rules);
  }
}

function checkRoom(layer: number, { pins, mostCopies }: LayerRules, open: readonly number[]): void {
  const pinnedOn = new Int32Array(open.length);
  for (const ranks of pins.values()) for (const rank of ranks) pinnedOn[rank]!++;
  const full = pinnedOn.findIndex((count, rank) => count > open[rank]!);
  if (full >= 0) {
    throw rulesError(
      `rules.pinned: layer ${layer}: ${pinnedOn[full]} experts are pinned to rank ${full}, which has ` +
        `${open[full]} open slots: pin at most as many`,
    );
  }
  const numPins = pinnedOn.reduce((sum, count) => sum + count, 0);
  const numOthers = mostCopies.length - pins.size;
  const numOpen = open.reduce((sum, count) => sum + count, 0);
  if (numPins + numOthers > numOpen) {
    throw rulesError(
      `rules: layer ${layer}: ${numPins} pinned copies and a slot for each of the ${numOthers} other experts ` +
        `are more than the ${numOpen} open slots: pin ${numPins + numOthers - numOpen} copies less`,
    );
  }
  const isLimited = mostCopies.every((most) => most !== NO_LIMIT);
  if (isLimited && numPins + numOthers < numOpen) {
    throw rulesError(
      `rules: layer ${layer}: of ${numOpen} open slots ${numOpen - numPins - numOthers} would stay empty, as ` +
        'no expert may have a further copy: close them (slotsPerRank), or let an expert be replicated',
    );
  }
}

/** Where a placement breaks a rule. */
export interface BrokenRule {
  readonly layer: number;
  readonly expert: number;
  /** The rank that lacks a copy, or has one that it may not have. */
  readonly rank: number;
  /**
   * 'missing': the expert is pinned to the rank, which has no copy. 'elsewhere': it is pinned to others only.
   * 'replicated': one copy too many of an expert that is never replicated, or has one on that rank already
   * where it is pinned to its ranks only.
   */
  readonly rule: 'missing' | 'elsewhere' | 'replicated';
}

/** What a layer of a placement breaks, by expert and rank. @param slots [physical] */
export function brokenInLayer(
  layer: number,
  { pins, mostCopies }: LayerRules,
  slots: Int32Array,
  numRanks: number,
): BrokenRule[] {
  const stride = slots.length / numRanks;
  const copies = new Map<number, number[]>();
  slots.forEach((expert, slot) => {
    if (expert < 0 || (mostCopies[expert] === NO_LIMIT && !pins.has(expert))) return;
    const own = copies.get(expert) ?? [];
    copies.set(expert, own);
    own.push(Math.floor(slot / stride));
  });
  const broken: BrokenRule[] = [];
  for (const [expert, most] of mostCopies.entries()) {
    const ranks = pins.get(expert);
    if (ranks === undefined && most === NO_LIMIT) continue;
    const own = copies.get(expert) ?? [];
    for (const rank of ranks ?? [])
      if (!own.includes(rank)) broken.push({ layer, expert, rank, rule: 'missing' });
    if (most === NO_LIMIT) continue;
    // One on each rank that it is pinned to; without pins the first ones.
    const allowed = ranks === undefined ? own.slice(0, most) : [...ranks];
    for (const rank of own) {
      const at = allowed.indexOf(rank);
      if (at >= 0) allowed.splice(at, 1);
      else
        broken.push({
          layer,
          expert,
          rank,
          rule: ranks?.includes(rank) === false ? 'elsewhere' : 'replicated',
        });
    }
  }
  return broken;
}

/** Rules without those of experts that break one, in the layers where they do. */
export function rulesWithout(
  rules: PlacementRules,
  broken: readonly BrokenRule[],
  { numLayers, numLogicalExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
): PlacementRules {
  if (broken.length === 0) return rules;
  const layersOf = new Map<number, Set<number>>();
  for (const { expert, layer } of broken) {
    const own = layersOf.get(expert) ?? new Set();
    layersOf.set(expert, own.add(layer));
  }
  const all = Array.from({ length: numLayers }, (_, layer) => layer);
  const allExperts = Array.from({ length: numLogicalExperts }, (_, expert) => expert);
  const split = <Rule extends SingleExperts>(rule: Rule, experts: readonly number[]): Rule[] => [
    { ...rule, experts: experts.filter((expert) => !layersOf.has(expert)) },
    ...experts
      .filter((expert) => layersOf.has(expert))
      .map((expert) => {
        const layers = (rule.layers ?? all).filter((layer) => !layersOf.get(expert)!.has(layer));
        return { ...rule, experts: [expert], layers };
      }),
  ];
  const { pinned, neverReplicated, ...others } = rules;
  return {
    ...others,
    ...(pinned && { pinned: pinned.flatMap((rule) => split(rule, rule.experts)) }),
    ...(neverReplicated && {
      neverReplicated: neverReplicated.flatMap((rule) => split(rule, rule.experts ?? allExperts)),
    }),
  };
}

/** What is broken, in a sentence. */
export function sayBroken({ layer, expert, rank, rule }: BrokenRule): string {
  const where = `layer ${layer}: expert ${expert}`;
  if (rule === 'missing') return `${where} is pinned to rank ${rank}, which has no copy`;
  if (rule === 'elsewhere') return `${where} is pinned to other ranks only, and rank ${rank} has a copy`;
  return `${where} may have no further copy, and rank ${rank} has one too many`;
}

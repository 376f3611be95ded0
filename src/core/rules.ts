import { checkAtLeast, checkNumbered, checkObject, checkWhole, listOf, show } from './checks.ts';
import { EplbRangeError, EplbTypeError } from './errors.ts';
import { checkOptions } from './known-keys.ts';
import type { PinnedExperts, PlacementRules, SharedExpert, SingleExperts } from './placement-rules.ts';
import type { Topology } from './topology.ts';

// What a user decides of a placement, whatever the loads are. Each rule is checked, copied and frozen.
// Whether they can be kept together is said by rule-book.ts.

type Sizes = Pick<Topology, 'numLayers' | 'numLogicalExperts' | 'numPhysicalExperts' | 'numRanks'>;

/**
 * A checked copy of rules; undefined where there are none.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 * `EPLB_SHAPE`, naming the field
 */
export function checkRules(given: unknown, sizes: Sizes): PlacementRules | undefined {
  if (Array.isArray(given))
    throw new EplbTypeError('EPLB_KIND', `rules: ${show(given)} is not an object of rules`);
  const names = ['pinned', 'neverReplicated', 'sharedExpert'];
  const { pinned, neverReplicated, sharedExpert } = checkOptions('rules', given as PlacementRules, names);
  const rules = {
    ...listed('pinned', pinned, (title, rule: PinnedExperts) => checkPinned(title, rule, sizes)),
    ...listed('neverReplicated', neverReplicated, (title, rule: SingleExperts) =>
      checkSingle(title, rule, sizes),
    ),
    ...(sharedExpert !== undefined && { sharedExpert: checkShared(sharedExpert, sizes) }),
  };
  return Object.keys(rules).length === 0 ? undefined : Object.freeze(rules);
}

/** A list of rules under its name; nothing where there is none. */
function listed<Name extends string, Rule extends object>(
  name: Name,
  given: unknown,
  check: (title: string, rule: Rule) => Rule,
): { readonly [Key in Name]?: readonly Rule[] } {
  if (given === undefined) return {};
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `rules.${name}: ${show(given)} is not a list of rules`);
  }
  const rules = Array.from(given, (rule: unknown, i) =>
    Object.freeze(check(`rules.${name}[${i}]`, rule as Rule)),
  );
  return rules.length === 0 ? {} : ({ [name]: Object.freeze(rules) } as { [Key in Name]: readonly Rule[] });
}

function checkPinned(title: string, rule: PinnedExperts, sizes: Sizes): PinnedExperts {
  const { experts, ranks, layers, only } = checkOptions(title, rule, ['experts', 'ranks', 'layers', 'only']);
  if (only !== undefined && typeof only !== 'boolean') {
    throw new EplbTypeError('EPLB_KIND', `${title}.only: ${show(only)} is neither true nor false`);
  }
  return {
    experts: numbered(`${title}.experts`, experts, 'experts', sizes.numLogicalExperts),
    ranks: numbered(`${title}.ranks`, ranks, 'ranks', sizes.numRanks),
    ...(layers !== undefined && { layers: numbered(`${title}.layers`, layers, 'layers', sizes.numLayers) }),
    ...(only === true && { only }),
  };
}

function checkSingle(title: string, rule: SingleExperts, sizes: Sizes): SingleExperts {
  const { experts, layers } = checkOptions(title, rule, ['experts', 'layers']);
  return {
    ...(experts !== undefined && {
      experts: numbered(`${title}.experts`, experts, 'experts', sizes.numLogicalExperts),
    }),
    ...(layers !== undefined && { layers: numbered(`${title}.layers`, layers, 'layers', sizes.numLayers) }),
  };
}

function numbered(title: string, given: unknown, what: string, count: number): readonly number[] {
  return Object.freeze(checkNumbered(title, given, what, count));
}

function checkShared(given: SharedExpert, { numRanks, numPhysicalExperts }: Sizes): SharedExpert {
  const title = 'rules.sharedExpert';
  const names = ['load', 'ranks', 'slots', 'isTaken'];
  const { load, ranks, slots = 1, isTaken } = checkOptions(title, checkObject(title, given), names);
  if (isTaken !== undefined && typeof isTaken !== 'boolean') {
    throw new EplbTypeError('EPLB_KIND', `${title}.isTaken: ${show(isTaken)} is neither true nor false`);
  }
  return Object.freeze({
    load: Array.isArray(load)
      ? Object.freeze(listOf(`${title}.load`, load, numRanks, 'numbers', checkSharedLoad))
      : checkSharedLoad(`${title}.load`, load),
    ...(ranks !== undefined && { ranks: numbered(`${title}.ranks`, ranks, 'ranks', numRanks) }),
    slots: checkWhole(`${title}.slots`, slots, 0, numPhysicalExperts / numRanks),
    ...(isTaken === true && { isTaken }),
  });
}

/** With more, the loads of all others are lost in rounding. */
const MOST_SHARED_LOAD = 1e6;

function checkSharedLoad(title: string, value: unknown): number {
  const load = checkAtLeast(title, value, 0);
  if (load <= MOST_SHARED_LOAD) return load;
  const what = `${load} is not from 0 to ${MOST_SHARED_LOAD}`;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${what}: it is a share of the tokens of all others`);
}

/** `[ranks]`: 1 where a live rank has a copy of the shared expert. */
function sharedRanks(
  { ranks }: SharedExpert,
  numRanks: number,
  deadRanks: readonly number[] = [],
): Uint8Array {
  const has = new Uint8Array(numRanks);
  if (ranks === undefined) has.fill(1);
  else for (const rank of ranks) has[rank] = 1;
  for (const rank of deadRanks) has[rank] = 0;
  return has;
}

/**
 * `[ranks]`: what a shared expert adds to the load of each rank, as a share of the loads of all routed
 * experts of the layer; undefined where there is none.
 */
export function sharedLoads({
  rules,
  numRanks,
  deadRanks,
}: Pick<Topology, 'rules' | 'numRanks' | 'deadRanks'>): number[] | undefined {
  const shared = rules?.sharedExpert;
  if (shared === undefined) return undefined;
  const { load } = shared;
  const has = sharedRanks(shared, numRanks, deadRanks);
  const count = has.reduce((sum, one) => sum + one, 0);
  const loads = Array.from(has, (one, rank) => {
    if (one === 0) return 0;
    return typeof load === 'number' ? load / count : load[rank]!;
  });
  return loads.some((part) => part > 0) ? loads : undefined;
}

/** `[ranks]`: slots that a shared expert still has to take; undefined where it takes none. */
export function slotsToTake(
  { sharedExpert: shared }: PlacementRules,
  numRanks: number,
): number[] | undefined {
  const { slots = 0, isTaken = false } = shared ?? {};
  if (shared === undefined || isTaken || slots === 0) return undefined;
  return Array.from(sharedRanks(shared, numRanks), (one) => one * slots);
}

/** Takes slots off what ranks have. @throws EplbRangeError `EPLB_RULES` where there are too few */
export function takeSlots(
  open: number[],
  taken: readonly number[],
  {
    numLogicalExperts,
    deadRanks = [],
  }: { readonly numLogicalExperts: number; readonly deadRanks?: readonly number[] | undefined },
): void {
  const title = 'rules.sharedExpert.slots';
  for (const [rank, slots] of taken.entries()) {
    if (deadRanks.includes(rank)) continue;
    if (slots > open[rank]!) {
      const message = `${title}: it takes ${slots} of each of its ranks, and rank ${rank} has ${open[rank]} open`;
      throw new EplbRangeError('EPLB_RULES', message);
    }
    open[rank]! -= slots;
  }
  const total = open.reduce((sum, count) => sum + count, 0);
  if (total >= numLogicalExperts) return;
  const left = `it leaves ${total} open slots for ${numLogicalExperts} experts`;
  throw new EplbRangeError('EPLB_RULES', `${title}: ${left}, ${numLogicalExperts - total} too few`);
}

/** Rules whose shared expert has taken its slots. */
export function withTakenSlots(rules: PlacementRules): PlacementRules {
  if (rules.sharedExpert === undefined) return rules;
  return Object.freeze({ ...rules, sharedExpert: Object.freeze({ ...rules.sharedExpert, isTaken: true }) });
}

/** Rules of some ranks where there are more: a shared expert has no copies on these. */
export function rulesOnMoreRanks(rules: PlacementRules, before: number, now: number): PlacementRules {
  const { sharedExpert } = rules;
  if (sharedExpert === undefined) return rules;
  const { load, ranks = Array.from({ length: before }, (_, rank) => rank) } = sharedExpert;
  const parts = typeof load === 'number' ? load : Array.from({ length: now }, (_, rank) => load[rank] ?? 0);
  return { ...rules, sharedExpert: { ...sharedExpert, load: parts, ranks } };
}

/** Rules for the first so many ranks: what they say of others is left out. Slots are to be taken anew. */
export function rulesWithin(rules: PlacementRules, numRanks: number): PlacementRules {
  const within = (ranks: readonly number[]) => ranks.filter((rank) => rank < numRanks);
  const { pinned, sharedExpert, ...others } = rules;
  const pins = pinned?.map((rule) => ({ ...rule, ranks: within(rule.ranks) }));
  const { load, ranks, isTaken: _, ...more } = sharedExpert ?? {};
  return {
    ...others,
    ...(pins && { pinned: pins.filter((rule) => rule.ranks.length > 0) }),
    ...(load !== undefined && {
      sharedExpert: {
        ...more,
        load:
          typeof load === 'number' ? load : Array.from({ length: numRanks }, (_, rank) => load[rank] ?? 0),
        ...(ranks && { ranks: within(ranks) }),
      },
    }),
  };
}

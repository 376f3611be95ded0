import { checkNumber, checkObject, checkText, checkWhole, show } from '../../core/checks.ts';
import { EplbTypeError, isOwnError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import type {
  PinnedExperts,
  PlacementRules,
  SharedExpert,
  SingleExperts,
} from '../../core/placement-rules.ts';
import { isList } from '../json/value.ts';
import { type RankSet, ranksOfSet } from './rank-set.ts';

/** What a file of rules says, in its own words: `schemas/rules.schema.json`. All fields may be left out. */
export interface RulesFile {
  /** Where its JSON Schema is, for editors; not looked at. */
  readonly $schema?: string;
  /** Experts that have to have copies on certain ranks. */
  readonly pinned?: readonly {
    readonly experts: RankSet;
    readonly ranks: RankSet;
    readonly layers?: RankSet;
    readonly only?: boolean;
  }[];
  /** Experts that have one copy and no more; all where none are named. */
  readonly neverReplicated?: readonly { readonly experts?: RankSet; readonly layers?: RankSet }[];
  /** A shared expert that an engine computes with the routed ones. */
  readonly sharedExpert?: {
    readonly load: number | readonly number[];
    readonly ranks?: RankSet;
    readonly slots?: number;
  };
}

/** Most layers, experts and ranks of a file: a range in it is a list in memory. */
const MOST = 2 ** 16;

/** How many layers, experts and ranks there are, where that is known. */
interface RuledSizes {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  readonly numRanks: number;
}

const UNKNOWN_SIZES: RuledSizes = { numLayers: MOST, numLogicalExperts: MOST, numRanks: MOST };

/**
 * Reads the content of a rules file. Whether the layers, experts and ranks exist, and whether a placement can
 * keep all rules, is checked together with the topology.
 *
 * @param value the parsed content
 * @param title its name in messages
 * @returns `rules` for the options of a balancer, of `replay` and of `repair`
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`, naming the
 *   field
 * @example
 * ```ts
 * rulesFromJson({ pinned: [{ experts: '0-1', ranks: 3 }], sharedExpert: { load: 0.125 } });
 * // { pinned: [{ experts: [0, 1], ranks: [3] }], sharedExpert: { load: 0.125 } }
 * ```
 */
export function rulesFromJson(value: unknown, title = 'rules'): PlacementRules {
  return rulesOfSizes(value, title, UNKNOWN_SIZES);
}

/** The same where sizes are known: what is not within them is refused before it takes memory. */
export function rulesOfSizes(value: unknown, title: string, sizes: RuledSizes): PlacementRules {
  const read = new RuleReader(sizes);
  try {
    if (isList(value)) throw new EplbTypeError('EPLB_KIND', 'is a list, not an object of fields');
    const file = fieldsOf('its content', value, ['$schema', 'pinned', 'neverReplicated', 'sharedExpert']);
    if (file.$schema !== undefined) checkText('$schema', file.$schema);
    return {
      ...(file.pinned !== undefined && {
        pinned: listOfRules('pinned', file.pinned, (at, rule) => read.pinned(at, rule)),
      }),
      ...(file.neverReplicated !== undefined && {
        neverReplicated: listOfRules('neverReplicated', file.neverReplicated, (at, rule) =>
          read.single(at, rule),
        ),
      }),
      ...(file.sharedExpert !== undefined && { sharedExpert: read.shared(file.sharedExpert) }),
    };
  } catch (error) {
    if (!isOwnError(error)) throw error;
    error.message = `${title}: ${error.message}`;
    throw error;
  }
}

/** Its own fields: a map of a file has no prototype, and one of somebody's own may have any. */
function fieldsOf(title: string, value: unknown, names: readonly string[]): Record<string, unknown> {
  const given = checkOptions(title, checkObject(title, value as object), names);
  return Object.fromEntries(
    names.filter((name) => Object.hasOwn(given, name)).map((name) => [name, Reflect.get(given, name)]),
  );
}

function listOfRules<T>(title: string, given: unknown, read: (title: string, rule: unknown) => T): T[] {
  if (!isList(given)) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list of rules`);
  return Array.from(given, (rule, i) => read(`${title}[${i}]`, rule));
}

/** Reads one rule. */
class RuleReader {
  readonly #sizes: RuledSizes;

  constructor(sizes: RuledSizes) {
    this.#sizes = sizes;
  }

  pinned(title: string, rule: unknown): PinnedExperts {
    const { experts, ranks, layers, only } = fieldsOf(title, rule, ['experts', 'ranks', 'layers', 'only']);
    if (only !== undefined && typeof only !== 'boolean')
      throw new EplbTypeError('EPLB_KIND', `${title}.only: ${show(only)} is neither true nor false`);
    return {
      experts: this.#experts(title, experts),
      ranks: this.#ranks(title, ranks),
      ...(layers !== undefined && { layers: this.#layers(title, layers) }),
      ...(only !== undefined && { only }),
    };
  }

  single(title: string, rule: unknown): SingleExperts {
    const { experts, layers } = fieldsOf(title, rule, ['experts', 'layers']);
    return {
      ...(experts !== undefined && { experts: this.#experts(title, experts) }),
      ...(layers !== undefined && { layers: this.#layers(title, layers) }),
    };
  }

  shared(given: unknown): SharedExpert {
    const title = 'sharedExpert';
    const { load, ranks, slots } = fieldsOf(title, given, ['load', 'ranks', 'slots']);
    return {
      load: isList(load)
        ? Array.from(load, (part, rank) => checkNumber(`${title}.load[${rank}]`, part))
        : checkNumber(`${title}.load`, load),
      ...(ranks !== undefined && { ranks: this.#ranks(title, ranks) }),
      ...(slots !== undefined && { slots: checkWhole(`${title}.slots`, slots, 0, MOST) }),
    };
  }

  #experts(title: string, given: unknown): number[] {
    return ranksOfSet(`${title}.experts`, given, this.#sizes.numLogicalExperts, 'expert');
  }

  #ranks(title: string, given: unknown): number[] {
    return ranksOfSet(`${title}.ranks`, given, this.#sizes.numRanks);
  }

  #layers(title: string, given: unknown): number[] {
    return ranksOfSet(`${title}.layers`, given, this.#sizes.numLayers, 'layer');
  }
}

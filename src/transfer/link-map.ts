import { checkAtLeast, checkText, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import type { Topology } from '../core/topology.ts';
import type { LinkClass } from '../cost/cost-json.ts';
import type { CostModel } from '../cost/cost-model.ts';

/** Which class of link joins two ranks, and which links are cheaper. */
export class LinkMap {
  /** The cheapest first. */
  readonly classes: readonly LinkClass[];
  /** Whether no link is cheaper than another. */
  readonly isEven: boolean;
  readonly #numRanks: number;
  /** [ranks] */
  readonly #nodeOf: Int32Array;
  /** [ranks x ranks], by indices of {@link classes}; undefined where nodes say it. */
  readonly #classOf: Uint16Array | undefined;
  readonly #costOf: Float64Array | undefined;

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`, `EPLB_RANGE`, naming the ranks */
  constructor(
    { numRanks, numNodes, nodeOfRank }: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>,
    cost: CostModel | undefined,
    linkClasses: unknown,
    linkCosts: unknown,
  ) {
    this.#numRanks = numRanks;
    this.#nodeOf = nodesOfRanks({ numRanks, numNodes, ...(nodeOfRank && { nodeOfRank }) });
    const names =
      linkClasses === undefined ? undefined : readMatrix('linkClasses', linkClasses, numRanks, checkText);
    this.classes = orderOf(
      names === undefined ? ['intraNode', 'interNode'] : classesOf(names, numRanks),
      cost,
    );
    if (names !== undefined) {
      const index = new Map(this.classes.map((name, i) => [name, i]));
      this.#classOf = Uint16Array.from(names, (name) => index.get(name)!);
    }
    if (linkCosts !== undefined) {
      const atLeastZero = (title: string, value: unknown) => checkAtLeast(title, value, 0);
      this.#costOf = Float64Array.from(readMatrix('linkCosts', linkCosts, numRanks, atLeastZero));
    }
    const values = this.#costOf ?? this.#classOf;
    this.isEven = values === undefined ? numNodes === 1 : isEven(values, numRanks);
  }

  /** An index of {@link classes}. */
  classOf(source: number, target: number): number {
    if (this.#classOf !== undefined) return this.#classOf[source * this.#numRanks + target]!;
    return this.#nodeOf[source] === this.#nodeOf[target] ? 0 : 1;
  }

  /** What a transfer costs beside others: in the unit of `linkCosts`, else the index of its class. */
  costOf(source: number, target: number): number {
    if (this.#costOf !== undefined) return this.#costOf[source * this.#numRanks + target]!;
    return this.classOf(source, target);
  }
}

function readMatrix<T>(
  title: string,
  given: unknown,
  numRanks: number,
  check: (title: string, value: unknown) => T,
): T[] {
  if (!Array.isArray(given))
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list of rows`);
  checkRows(title, given, numRanks);
  return given.flatMap((row: unknown, source) => {
    if (!Array.isArray(row)) {
      throw new EplbTypeError('EPLB_KIND', `${title}[${source}]: ${show(row)} is not a list`);
    }
    checkRows(`${title}[${source}]`, row, numRanks);
    // No link joins a rank with itself: what stands there is not looked at, but for its kind.
    return Array.from({ length: numRanks }, (_, target) =>
      check(`${title}[${source}][${target}]`, row[target]),
    );
  });
}

function checkRows(title: string, list: readonly unknown[], numRanks: number): void {
  if (list.length === numRanks) return;
  throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${list.length} entries for ${numRanks} ranks`);
}

/** The classes between different ranks, in the order that they come. */
function classesOf(names: readonly string[], numRanks: number): string[] {
  const found = names.filter((_, i) => i % (numRanks + 1) !== 0);
  const classes = [...new Set(numRanks === 1 ? names : found)];
  // What stands on the diagonal needs an index, too.
  return [...new Set([...classes, ...names])];
}

function orderOf(classes: readonly string[], cost: CostModel | undefined): string[] {
  const place = (name: string) => (name === 'intraNode' ? 0 : name === 'interNode' ? 2 : 1);
  const bandwidth = (name: string) => cost?.toJSON().links[name]?.bytesPerSecond ?? 0;
  return [...classes].sort((a, b) => place(a) - place(b) || bandwidth(b) - bandwidth(a));
}

function isEven(values: ArrayLike<number>, numRanks: number): boolean {
  if (numRanks < 2) return true;
  const first = values[1]!;
  for (let i = 1; i < values.length; i++) {
    if (i % (numRanks + 1) !== 0 && values[i] !== first) return false;
  }
  return true;
}

import { checkTopology } from '../core/check-topology.ts';
import { checkNumbered, checkObject, checkWhole, show } from '../core/checks.ts';
import { type EplbErrorCode, EplbRangeError, EplbTypeError, isOwnError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { checkSpeed } from '../core/rank-options.ts';
import { rulesOnMoreRanks } from '../core/rules.ts';
import { MAX_SIZE, type Topology } from '../core/topology.ts';

/** What becomes of ranks in the midst of a replay, before the step of the recording with this number. */
export type RankEvent =
  /** They die: what they hold is lost, and every mapping is repaired at once. */
  | { readonly kind: 'fail'; readonly step: number; readonly ranks: readonly number[] }
  /** They come back, empty: the next plan fills them. */
  | { readonly kind: 'recover'; readonly step: number; readonly ranks: readonly number[] }
  /** They become slower, or with speed 1 as fast again as others. */
  | {
      readonly kind: 'slow';
      readonly step: number;
      readonly ranks: readonly number[];
      readonly speed: number;
    }
  /** So many more come, empty: the next plan fills them. */
  | { readonly kind: 'grow'; readonly step: number; readonly numRanks: number };

/** All events before one step, and the ranks from then on. */
export interface RankChange {
  readonly step: number;
  readonly events: readonly RankEvent[];
  readonly topology: Topology;
}

/** The ranks of a replay over time. */
export interface RankTimeline {
  /** At the beginning. Its tables have the slots of all ranks that ever come: those to come are dead. */
  readonly topology: Topology;
  /** The ranks at the beginning alone. */
  readonly atFirst: Topology;
  /** By step. */
  readonly changes: readonly RankChange[];
}

const FIELDS = {
  fail: ['kind', 'step', 'ranks'],
  recover: ['kind', 'step', 'ranks'],
  slow: ['kind', 'step', 'ranks', 'speed'],
  grow: ['kind', 'step', 'numRanks'],
};

/**
 * Checks events, puts them in the order of their steps, and works out the ranks after each.
 *
 * @param given of a checked topology, which the replay begins with
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`;
 * `EPLB_TOPOLOGY` for ranks that cannot fail or come back then, or when too few slots are left
 */
export function rankTimeline(given: unknown, topology: Topology): RankTimeline {
  const { numRanks } = topology;
  const titles = readEvents(given, numRanks);
  // In the order of their steps; of one step, as they were given.
  const events = [...titles.keys()].sort((a, b) => a.step - b.step);
  const added = numRanksAdded(events);
  const whole = added === 0 ? topology : grown(topology, added);
  const ranks = new RankStates(whole, numRanks);
  const first = added === 0 ? topology : ranks.topology();
  const steps = [...new Set(events.map(({ step }) => step))];
  const changes = steps.map((step) => {
    const own = events.filter((event) => event.step === step);
    for (const event of own) ranks.apply(event, titles.get(event)!);
    return { step, events: own, topology: ranks.topology(own.at(-1), titles) };
  });
  return { topology: first, atFirst: topology, changes };
}

/** Events as they were given, and what each is called in messages. */
function readEvents(given: unknown, numRanks: number): Map<RankEvent, string> {
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `events: ${show(given)} is not a list of events`);
  }
  const most = MAX_SIZE - numRanks;
  const titles = Array.from(given, (_, i) => `events[${i}]`);
  return new Map(titles.map((title, i) => [readEvent(title, given[i], most), title]));
}

function readEvent(title: string, given: unknown, most: number): RankEvent {
  const event = checkObject(title, given as RankEvent & { ranks: unknown; speed: unknown });
  const { kind } = event;
  if (!Object.hasOwn(FIELDS, kind)) {
    const known = Object.keys(FIELDS).join(', ');
    throw new EplbRangeError('EPLB_RANGE', `${title}.kind: ${show(kind)} is none of ${known}`);
  }
  checkOptions(title, event, FIELDS[kind]);
  const step = checkWhole(`${title}.step`, event.step, 0);
  if (event.kind === 'grow') {
    return { kind: 'grow', step, numRanks: checkWhole(`${title}.numRanks`, event.numRanks, 1, most) };
  }
  const ranks = checkNumbered(`${title}.ranks`, event.ranks, 'ranks', MAX_SIZE);
  if (ranks.length === 0) throw new EplbRangeError('EPLB_RANGE', `${title}.ranks: names no rank`);
  if (event.kind !== 'slow') return { kind: event.kind, step, ranks };
  return { kind: 'slow', step, ranks, speed: checkSpeed(`${title}.speed`, event.speed) };
}

/** Which ranks live, and how fast they are. */
class RankStates {
  readonly #whole: Topology;
  readonly #dead: Set<number>;
  readonly #speeds: number[];
  #numRanks: number;

  constructor(whole: Topology, numRanks: number) {
    this.#whole = whole;
    this.#numRanks = numRanks;
    const toCome = Array.from({ length: whole.numRanks - numRanks }, (_, i) => numRanks + i);
    this.#dead = new Set([...(whole.deadRanks ?? []), ...toCome]);
    this.#speeds = Array.from({ length: whole.numRanks }, (_, rank) => whole.rankSpeed?.[rank] ?? 1);
  }

  apply(event: RankEvent, title: string): void {
    if (event.kind === 'grow') {
      for (let i = 0; i < event.numRanks; i++) this.#dead.delete(this.#numRanks++);
      return;
    }
    for (const rank of event.ranks) {
      if (rank >= this.#numRanks)
        refuse(title, event, `there are ${this.#numRanks} ranks then, and no rank ${rank}`);
      const isDead = this.#dead.has(rank);
      if (event.kind === 'recover' ? !isDead : isDead) {
        refuse(title, event, `rank ${rank} ${isDead ? 'is dead' : 'lives'} then`);
      }
      if (event.kind === 'slow') this.#speeds[rank] = event.speed;
      else if (event.kind === 'fail') this.#dead.add(rank);
      else this.#dead.delete(rank);
    }
  }

  /** @param last the event that came last, and what events are called, for the message */
  topology(last?: RankEvent, titles?: ReadonlyMap<RankEvent, string>): Topology {
    const { rankSpeed: _, deadRanks: __, ...rest } = this.#whole;
    const topology = { ...rest, rankSpeed: this.#speeds, deadRanks: [...this.#dead] };
    try {
      return checkTopology(topology);
    } catch (error) {
      if (last === undefined || !isOwnError(error) || !REFUSED.includes(error.code)) throw error;
      return refuse(
        titles?.get(last) ?? 'events',
        last,
        error.message.replace(/^deadRanks: /, ''),
        error.code,
      );
    }
  }
}

/** What the ranks that are left can be too few for. */
const REFUSED: readonly EplbErrorCode[] = ['EPLB_TOPOLOGY', 'EPLB_RULES'];

function refuse(
  title: string,
  { kind, step }: RankEvent,
  why: string,
  code: EplbErrorCode = 'EPLB_TOPOLOGY',
): never {
  throw new EplbRangeError(code, `${title}: ${kind} before step ${step}: ${why}`);
}

/**
 * A topology with ranks added behind the others, all their slots open. They are nodes as large as the largest
 * one, or join it where there is one, and a failure domain of their own on each level.
 */
function grown(topology: Topology, added: number): Topology {
  const { numPhysicalExperts, numRanks, slotsPerRank, rankSpeed, failureDomains, rules } = topology;
  if (topology.linkClasses !== undefined) {
    throw new EplbRangeError('EPLB_TOPOLOGY', 'linkClasses: they say nothing of the ranks that are to come');
  }
  const all = numRanks + added;
  const stride = numPhysicalExperts / numRanks;
  const nodeOfRank = nodesWith(topology, added);
  const more = <T>(list: readonly T[], value: T) => [...list, ...new Array<T>(added).fill(value)];
  return {
    ...topology,
    numPhysicalExperts: stride * all,
    numRanks: all,
    numNodes: nodeOfRank.at(-1)! + 1,
    nodeOfRank,
    ...(slotsPerRank && { slotsPerRank: more(slotsPerRank, stride) }),
    ...(rankSpeed && { rankSpeed: more(rankSpeed, 1) }),
    ...(rules && { rules: rulesOnMoreRanks(rules, numRanks, all) }),
    ...(failureDomains && {
      failureDomains: Object.fromEntries(
        Object.entries(failureDomains).map(([level, domains]) => [
          level,
          more(domains, Math.max(...domains) + 1),
        ]),
      ),
    }),
  };
}

/** `[ranks]`: the node of each, with so many ranks added behind the others. */
export function nodesWith(
  topology: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>,
  added: number,
): number[] {
  const { numNodes } = topology;
  const nodes = Array.from(nodesOfRanks(topology));
  if (numNodes === 1) return [...nodes, ...new Array<number>(added).fill(0)];
  const sizes = new Array<number>(numNodes).fill(0);
  for (const node of nodes) sizes[node]!++;
  const perNode = Math.max(...sizes);
  return [...nodes, ...Array.from({ length: added }, (_, i) => numNodes + Math.floor(i / perNode))];
}

/** Ranks that come on the way. */
export function numRanksAdded(events: readonly RankEvent[] = []): number {
  return events.reduce((sum, event) => sum + (event.kind === 'grow' ? event.numRanks : 0), 0);
}

/** Which of the changes is next, step by step. */
export class ChangeClock {
  readonly #changes: readonly RankChange[];
  #next = 0;

  constructor(changes: readonly RankChange[]) {
    this.#changes = changes;
  }

  /** The changes that are due before a step. */
  due(step: number): readonly RankChange[] {
    const first = this.#next;
    while (this.#next < this.#changes.length && this.#changes[this.#next]!.step <= step) this.#next++;
    return this.#changes.slice(first, this.#next);
  }
}

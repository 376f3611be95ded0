import type { PlacementRules } from './placement-rules.ts';

/** The largest size of anything: layers, experts, slots, ranks, steps. Float32 counts are exact up to it. */
export const MAX_SIZE = 2 ** 24;

/** Speeds of ranks beyond these are typing errors. */
export const LEAST_SPEED = 1e-3;
export const MOST_SPEED = 1e3;

/** Levels of what fails together, by name: `[ranks]`, the domain of each rank, numbered from 0 on. */
export type FailureDomains = Readonly<Record<string, readonly number[]>>;

/** The sizes of a placement problem: the same for every layer. */
export interface Topology {
  /** MoE layers. */
  readonly numLayers: number;
  /** Experts of the model, per layer. */
  readonly numLogicalExperts: number;
  /**
   * Slots, per layer, over all ranks: at least `numLogicalExperts`. Where they are not a multiple of
   * `numRanks`, tables have as many slots for every rank as for the largest one, and `slotsPerRank` closes
   * those that are too many: in a checked topology they are a multiple.
   */
  readonly numPhysicalExperts: number;
  /** Devices. */
  readonly numRanks: number;
  /**
   * Fast-network domains, of consecutive ranks. Where `numRanks` is not a multiple, the last one has fewer
   * ranks, unless `nodeOfRank` says otherwise.
   */
  readonly numNodes: number;
  /** Groups of experts that routing picks together; policies that keep them together need even ones. */
  readonly numGroups: number;
  /**
   * `[ranks]`: how many slots of each rank may hold an expert, together at least `numLogicalExperts`: the
   * first ones. The others are closed: they stay empty, -1, in every layer. All are open when left out. In a
   * checked topology a dead rank has 0.
   */
  readonly slotsPerRank?: readonly number[];
  /** `[ranks]`: how fast each is, 1 as usual: what it takes is its load / speed. All alike when left out. */
  readonly rankSpeed?: readonly number[];
  /** Ranks that may hold nothing, rising; they keep their numbers and their slots in the tables. */
  readonly deadRanks?: readonly number[];
  /** `[ranks]`: the node of each, from 0 on, never falling. Nodes of equally many ranks when left out. */
  readonly nodeOfRank?: readonly number[];
  /** Further levels of what fails together, by name: `[ranks]`, the domain of each. */
  readonly failureDomains?: FailureDomains;
  /**
   * `[ranks][ranks]`: the class of the link from one rank to another; what a class costs is said by the cost
   * model. When left out, links are within a node or between nodes: 'intraNode' and 'interNode'.
   */
  readonly linkClasses?: readonly (readonly string[])[];
  /** What every plan keeps to, whatever the loads are: see docs/rules.md. None when left out. */
  readonly rules?: PlacementRules;
}

/** The names of what a topology may have beside its sizes. */
export const RANK_OPTIONS = [
  'slotsPerRank',
  'rankSpeed',
  'deadRanks',
  'nodeOfRank',
  'failureDomains',
  'linkClasses',
  'rules',
] as const satisfies readonly (keyof RankOptions)[];

/** What a topology may have beside its sizes. */
export type RankOptions = Pick<
  Topology,
  'slotsPerRank' | 'rankSpeed' | 'deadRanks' | 'nodeOfRank' | 'failureDomains' | 'linkClasses' | 'rules'
>;

/** The options of ranks that are given, of an object that may have any: each is read once. */
export function rankOptionsOf(given: RankOptions): RankOptions {
  const entries = RANK_OPTIONS.map((name) => [name, given[name]] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** Whether anything is known of the ranks beside which of their slots are open. */
export function knowsRanks(topology: RankOptions): boolean {
  return RANK_OPTIONS.some((name) => name !== 'slotsPerRank' && topology[name] !== undefined);
}

/** Sizes in a message about memory. */
export function describeTopology({ numLayers, numLogicalExperts, numPhysicalExperts }: Topology): string {
  return `topology: ${numLayers} layers, ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
}

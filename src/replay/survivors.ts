import { checkTopology } from '../core/check-topology.ts';
import { isOwnError } from '../core/errors.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { openSlotsOfRanks } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { type AbstractEplbPolicy, ExpertMapping } from '../index.ts';
import { checkPlannable } from '../policy/plannable.ts';

// How a policy plans while ranks are dead, or are to come. One that knows closed slots and speeds gets the
// tables as they are. Another one is started anew on the ranks that there are, as engines do: SGLang falls
// back to a global plan for its active ranks and lays it into the slots of all (elasticity_aware), vLLM plans
// for the ranks of its new group, on one node where these do not divide evenly.

/** The ranks that a policy is shown. */
export interface ShownRanks {
  readonly topology: Topology;
  /** The number of each in the whole tables; undefined where these are shown. */
  readonly ranks: readonly number[] | undefined;
}

/**
 * What a policy plans for.
 *
 * @param atFirst the ranks that there are at the beginning, where it is that: a policy that cannot plan for
 * these is not helped, and will refuse them
 */
export function shownRanks(
  policy: AbstractEplbPolicy | URL,
  whole: Topology,
  atFirst?: Topology,
): ShownRanks {
  const hasKernel = requestOf(policy) !== undefined;
  const all = { topology: whole, ranks: undefined };
  if (atFirst?.numRanks === whole.numRanks) return all;
  // One without a kernel may know nothing of closed slots: it tells only by what it plans.
  if (hasKernel ? canPlan(policy, whole) : whole.deadRanks === undefined) return all;
  if (atFirst !== undefined) return { topology: atFirst, ranks: upTo(atFirst.numRanks) };
  const dead = new Set(whole.deadRanks);
  const live = upTo(whole.numRanks).filter((rank) => !dead.has(rank));
  const survivors = shown(whole, live);
  if (!hasKernel || canPlan(policy, survivors.topology)) return survivors;
  const { rankSpeed: _, ...alike } = survivors.topology;
  return { ...survivors, topology: alike };
}

/** What a policy asks of its kernel; undefined for one that has none, or that is not looked into. */
export function requestOf(policy: AbstractEplbPolicy | URL | 'static'): KernelRequest | undefined {
  // Of somebody's own object with rebalanceExperts, it may be missing.
  return typeof policy === 'string' || policy instanceof URL ? undefined : policy.kernelRequest?.();
}

function canPlan(policy: AbstractEplbPolicy | URL, topology: Topology): boolean {
  try {
    checkPlannable(requestOf(policy), checkTopology(topology));
    return true;
  } catch (error) {
    if (isOwnError(error) && error.code === 'EPLB_TOPOLOGY') return false;
    throw error;
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Live ranks as a topology of their own, on one node where their nodes have not equally many of them. */
function shown(whole: Topology, ranks: readonly number[]): ShownRanks {
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numGroups } = whole;
  const stride = numPhysicalExperts / numRanks;
  const nodes = nodesOfRanks(whole);
  const perNode = new Map<number, number>();
  for (const rank of ranks) perNode.set(nodes[rank]!, (perNode.get(nodes[rank]!) ?? 0) + 1);
  const isEven = new Set(perNode.values()).size === 1;
  const open = openSlotsOfRanks(whole);
  const slots = ranks.map((rank) => open[rank]!);
  const { rankSpeed, failureDomains, linkClasses } = whole;
  return {
    ranks,
    topology: {
      numLayers,
      numLogicalExperts,
      numPhysicalExperts: stride * ranks.length,
      numRanks: ranks.length,
      numNodes: isEven ? perNode.size : 1,
      numGroups,
      ...(slots.every((count) => count === stride) ? {} : { slotsPerRank: slots }),
      ...(rankSpeed && { rankSpeed: ranks.map((rank) => rankSpeed[rank]!) }),
      ...(linkClasses && { linkClasses: ranks.map((from) => ranks.map((to) => linkClasses[from]![to]!)) }),
      ...(failureDomains && {
        failureDomains: Object.fromEntries(
          Object.entries(failureDomains).map(([level, all]) => [level, ranks.map((rank) => all[rank]!)]),
        ),
      }),
    },
  };
}

/** The slots of some ranks, in the order of these. @param slots [layers x physical] of all ranks */
export function slotsOfShown(
  slots: Int32Array,
  whole: Topology,
  { topology, ranks }: ShownRanks,
): Int32Array {
  if (ranks === undefined) return slots;
  const stride = whole.numPhysicalExperts / whole.numRanks;
  const own = new Int32Array(topology.numLayers * topology.numPhysicalExperts);
  for (let layer = 0, at = 0; layer < topology.numLayers; layer++) {
    for (const rank of ranks) {
      const first = layer * whole.numPhysicalExperts + rank * stride;
      own.set(slots.subarray(first, first + stride), at);
      at += stride;
    }
  }
  return own;
}

/** {@link slotsOfShown} the other way; the slots of other ranks are empty. */
export function slotsOfAll(own: Int32Array, whole: Topology, { topology, ranks }: ShownRanks): Int32Array {
  if (ranks === undefined) return own;
  const stride = whole.numPhysicalExperts / whole.numRanks;
  const slots = new Int32Array(topology.numLayers * whole.numPhysicalExperts).fill(-1);
  for (let layer = 0, at = 0; layer < topology.numLayers; layer++) {
    for (const rank of ranks) {
      slots.set(own.subarray(at, at + stride), layer * whole.numPhysicalExperts + rank * stride);
      at += stride;
    }
  }
  return slots;
}

/** Slots of shown ranks as a mapping. */
export function mappingOfShown(slots: Int32Array, { topology }: ShownRanks): ExpertMapping {
  const { numLayers, numLogicalExperts } = topology;
  return new ExpertMapping({ phyToLog: slots, numLayers, numLogicalExperts });
}

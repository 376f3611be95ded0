import { DefaultEplbPolicy, type ExpertMapping, type Topology } from 'expert-load-balancer';
import { assertPlacement, digestOf } from '../check.ts';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { firstMappings } from '../first-mapping.ts';
import { interleave, type Task } from '../interleave.ts';
import { planReference } from '../reference.ts';
import { median, type Stats, scale } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { makeWorkload, type Workload } from '../workloads.ts';

const SLOTS = [64, 128, 256, 512, 1024, 2048, 4096];
const LAYERS = 32;
/** One slot in eight is redundant, as in the largest models served. */
const EXPERTS_PER_SLOT = 7 / 8;

/** A way in which a deployment grows. */
const GROWTHS: readonly { readonly name: string; readonly ranksOf: (slots: number) => number }[] = [
  { name: '8 slots a rank', ranksOf: (slots) => slots / 8 },
  { name: '16 ranks', ranksOf: () => 16 },
];

/** How the time of a plan grows with the slots. */
export const scalingSuite: Suite = {
  name: 'scaling',
  title: `Time per slot by number of slots, ${LAYERS} layers, 7 experts for 8 slots, in the calling thread`,
  async run(context) {
    return GROWTHS.flatMap(({ name, ranksOf }) => {
      const problems = SLOTS.map((slots) => makePlan(slots, ranksOf(slots), context.seed));
      const stats = interleave(problems, { rounds: context.pick(10, 1), time: context.limits.time / 8 });
      const points = problems.map((problem, i) => figureOf(`scaling/${name}`, problem, stats[i]!, context));
      return [...points, growth(`scaling/${name}/growth over slots x log(slots)`, points)];
    });
  },
};

/** What the bar is on, and the plot's curve. */
const PER_LOG = 'per slot / log2(slots)';

interface Plan extends Task<ExpertMapping> {
  readonly slots: number;
  readonly workload: Workload;
  readonly digest: string;
}

function makePlan(slots: number, numRanks: number, seed: number): Plan {
  const topology: Topology = {
    numLayers: LAYERS,
    numLogicalExperts: slots * EXPERTS_PER_SLOT,
    numPhysicalExperts: slots,
    numRanks,
    numNodes: 1,
    numGroups: 1,
  };
  const workload = makeWorkload(topology, 'zipf', seed);
  const expected = planReference(workload.loads, topology);
  const policy = new DefaultEplbPolicy();
  return {
    slots,
    workload,
    digest: digestOf(expected, topology),
    run: () => policy.rebalanceExperts(workload.loads, slots, 1, 1, numRanks),
    check: (mapping) => assertPlacement(mapping, expected, `${slots} slots, ${numRanks} ranks`),
  };
}

function figureOf(
  id: string,
  { slots, workload, digest }: Plan,
  stats: Stats,
  { pick }: SuiteContext,
): Figure {
  const cold = median(firstMappings(workload, digest, pick(3, 1)).planMs);
  const nsPerSlot = 1e6 / (LAYERS * slots);
  return sampled(`${id}/${slots} slots`, 'ns', scale(stats, nsPerSlot), [
    beside(PER_LOG, (stats.median * nsPerSlot) / Math.log2(slots), 'ns'),
    beside('cold', cold * nsPerSlot, 'ns'),
    beside('all layers', stats.median, 'ms'),
    beside('all layers, cold', cold, 'ms'),
  ]);
}

/**
 * The most that time / (slots x log(slots)) ever is of what it is for the fewest slots: at most 1 when no
 * size is worse.
 */
function growth(id: string, points: readonly Figure[]): Figure {
  const costs = points.map(perLog);
  const worst = Math.max(...costs.slice(1)) / costs[0]!;
  return derived(id, 'x', worst, [beside('of the most slots', costs.at(-1)! / costs[0]!, 'x')]);
}

/** Time per slot / log2(slots) of a figure. */
function perLog({ beside: besides }: Figure): number {
  return besides.find(({ label }) => label === PER_LOG)!.value;
}

import assert from 'node:assert/strict';
import {
  CoactivationRecorder,
  DefaultEplbPolicy,
  type ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
  type PolicyContext,
  repair,
  type Topology,
} from 'expert-load-balancer';
import { beside, type Figure, sampled } from '../figure.ts';
import { measure } from '../measure.ts';
import { Random } from '../random.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, sizeName } from '../workloads.ts';

const TOP_K = 8;
const NUM_TOKENS = 2048;
const TOPICS = [16, 32];
/** By how much the experts' popularity moves on until the next plan: a deviation of its logarithm. */
const DRIFT = 0.3;
const LARGE = { numLayers: 1, numLogicalExperts: 1024, numPhysicalExperts: 2048, numNodes: 16, numGroups: 1 };

/** Which experts tokens pick together, and how often each is picked. */
interface Picked {
  readonly loads: LoadMatrix;
  readonly coactivation: NonNullable<PolicyContext['coactivation']>;
}

/** Plans that save on links between nodes, and the repair of a mapping that has lost a rank. */
export const topologySuite: Suite = {
  name: 'topology',
  title: 'Plans with links between nodes, and repairs, in the calling thread',
  async run(context) {
    const main = { ...MAIN_SIZE, numGroups: 1 };
    const figures: Figure[] = [];
    for (const numTopics of TOPICS) {
      const name = `${sizeName(main)}, ${main.numNodes} nodes, ${numTopics} topics`;
      figures.push(...(await timeLinks(name, main, numTopics, context)));
    }
    for (const numRanks of [128, 512]) {
      const large = { ...LARGE, numRanks };
      const name = `${sizeName(large)}, 16 nodes, ${numRanks} ranks`;
      figures.push(...(await timeLinks(name, large, 32, context)));
    }
    figures.push(await timeRepair(main, pickTogether(main, context.seed, 1), context));
    return figures;
  },
};

/** The plan from a placement that knows no pairs, and plans from that one: for drifted tokens, and others. */
async function timeLinks(
  name: string,
  topology: Topology,
  numTopics: number,
  { limits, seed }: SuiteContext,
): Promise<Figure[]> {
  const picked = pickTogether(topology, seed, numTopics);
  const initial = placeByDefault(topology, picked.loads);
  const first = plan(topology, picked, initial);
  const cases = [
    ['first plan', picked, initial],
    ['next plan', pickTogether(topology, seed, numTopics, DRIFT), first],
    ['plan for other tokens', pickTogether(topology, seed + 1, numTopics), first],
  ] as const;
  const figures: Figure[] = [];
  for (const [kind, given, previous] of cases) {
    const expected = plan(topology, given, previous);
    const stats = await measure(
      limits,
      () => plan(topology, given, previous),
      (mapping) => assert.ok(mapping.equals(expected)),
    );
    const moves = expected.movesFrom(previous, topology.numRanks) / topology.numLayers;
    figures.push(sampled(`topology/${name}/${kind}`, 'ms', stats, [beside('moves a layer', moves, 'x')]));
  }
  return figures;
}

function plan(topology: Topology, { loads, coactivation }: Picked, previous: ExpertMapping): ExpertMapping {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const context = { coactivation, previous };
  const policy = new LocalityAwarePolicy();
  return policy.rebalanceExperts(loads, numPhysicalExperts, numGroups, numNodes, numRanks, context);
}

function placeByDefault(topology: Topology, loads: LoadMatrix): ExpertMapping {
  const { numPhysicalExperts, numRanks } = topology;
  return new DefaultEplbPolicy().rebalanceExperts(loads, numPhysicalExperts, 1, 1, numRanks);
}

/** Of a rank that dies: experts whose last copy it had come back, and no other slot changes. */
async function timeRepair(topology: Topology, { loads }: Picked, { limits }: SuiteContext): Promise<Figure> {
  const mapping = placeByDefault(topology, loads);
  const options = { numRanks: topology.numRanks, deadRanks: [topology.numRanks - 1], loads };
  const expected = repair(mapping, options);
  const stats = await measure(
    limits,
    () => repair(mapping, options),
    (repaired) => assert.ok(repaired.mapping.equals(expected.mapping)),
  );
  const hostLoads = expected.hostLoads.length / topology.numLayers;
  return sampled(`topology/${sizeName(topology)}/repair of a dead rank`, 'ms', stats, [
    beside('host loads a layer', hostLoads, 'x'),
  ]);
}

/** Tokens that have a topic each, whose experts they pick more often than others. */
function pickTogether(topology: Topology, seed: number, numTopics: number, drift = 0): Picked {
  const { numLayers, numLogicalExperts: numExperts } = topology;
  const popularity = new Random(seed, `experts of ${numTopics} topics`);
  const random = new Random(seed, `tokens of ${numTopics} topics, drift ${drift}`);
  const routes = new Uint16Array(NUM_TOKENS * numLayers * TOP_K);
  const topics = Array.from({ length: NUM_TOKENS }, () => Math.floor(numTopics * random.next()));
  const data = new Float32Array(numLayers * numExperts);
  for (let layer = 0; layer < numLayers; layer++) {
    const popular = Float64Array.from({ length: numExperts }, () => 0.5 * popularity.normal());
    const sums = Array.from({ length: numTopics }, () => {
      let sum = 0;
      return popular.map((log) => {
        const ofTopic = 1.5 * popularity.normal() + drift * random.normal();
        sum += Math.exp(log + ofTopic);
        return sum;
      });
    });
    for (let token = 0; token < NUM_TOKENS; token++) {
      const start = (token * numLayers + layer) * TOP_K;
      const picked = pickDistinct(sums[topics[token]!]!, random);
      routes.set(picked, start);
      for (const expert of picked) data[layer * numExperts + expert]!++;
    }
  }
  const recorder = new CoactivationRecorder({ numLayers, numExperts });
  recorder.record(routes, NUM_TOKENS, TOP_K);
  return { loads: { data, numLayers, numExperts }, coactivation: recorder.matrix() };
}

/** @param sums of the experts' weights up to each */
function pickDistinct(sums: Float64Array, random: Random): number[] {
  const picked = new Set<number>();
  while (picked.size < TOP_K) {
    const drawn = random.next() * sums.at(-1)!;
    picked.add(sums.findIndex((sum) => drawn < sum));
  }
  return [...picked];
}

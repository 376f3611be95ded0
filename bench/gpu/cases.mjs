// Writes what layer_test.py measures: how many tokens each slot of each rank gets, under placements that this
// package plans. Routes are recorded; the first half of the tokens is planned from, the second is measured.
//
//   node bench/gpu/cases.mjs -o build/gpu/cases.json --experts 64 ROUTES.npy...
//     [--ranks 4,16] [--tokens-per-rank 64,1024] [--cost COST.json]   (what 'adaptive, for time' plans for)
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { AdaptiveEplbPolicy, costModel, DefaultEplbPolicy, ExpertLoadBalancer } from 'expert-load-balancer';
import { readTokens } from '../read-tokens.mjs';

/** Ranks and slots a layer: on one GPU all are emulated, on several those with as many ranks run whole. */
const RANKS = [2, 4, 8, 16];
const TOKENS_PER_RANK = [8, 32, 64, 128, 192, 256, 512, 1024, 2048];
const POLICIES = {
  static: () => undefined,
  default: () => new DefaultEplbPolicy(),
  adaptive: () => new AdaptiveEplbPolicy(),
  'adaptive, moves free': () => new AdaptiveEplbPolicy({ price: 0 }),
  'adaptive, for time': () => new AdaptiveEplbPolicy({ price: 0, cost }),
};
const NUM_LAYERS = 4;
const NUM_STEPS = 4;
/** Of no more experts than there are, and a multiple of all numbers of ranks. */
const REDUNDANT_SLOTS = 16;
const MAX_WINDOW = 64;

/** Steps of `size` tokens. */
function cut(tokens, size) {
  const count = Math.floor(tokens.length / size);
  return Array.from({ length: count }, (_, step) => tokens.slice(step * size, (step + 1) * size));
}

function loadsOf(step, layer, numExperts, topK) {
  const loads = new Float32Array(numExperts);
  for (const token of step) {
    for (const expert of token.slice(layer * topK, (layer + 1) * topK)) loads[expert]++;
  }
  return loads;
}

async function plan(makePolicy, sizes, steps, topK, times) {
  const policy = makePolicy();
  const balancer = new ExpertLoadBalancer({
    ...sizes,
    threads: 0,
    windowSize: Math.min(MAX_WINDOW, steps.length),
    ...(policy === undefined ? {} : { policy }),
  });
  try {
    if (policy === undefined) return balancer.mapping;
    for (const step of steps) {
      for (let layer = 0; layer < sizes.numLayers; layer++) {
        const loads = loadsOf(step, layer, sizes.numLogicalExperts, topK);
        balancer.recordLogicalLoad(
          layer,
          loads.map((load) => load * times),
        );
      }
      balancer.advanceWindow();
    }
    return await balancer.rebalance();
  } finally {
    await balancer.close();
  }
}

/** Tokens from each rank to each slot: [ranks][slots]. The copies of an expert take its tokens in turn. */
function countsOf(step, layer, mapping, { numRanks, numPhysicalExperts, topK, times }) {
  const counts = Array.from({ length: numRanks }, () => new Array(numPhysicalExperts).fill(0));
  const seen = new Map();
  step.forEach((token, at) => {
    const source = Math.floor((at * numRanks) / step.length);
    for (const expert of token.slice(layer * topK, (layer + 1) * topK)) {
      const slots = mapping.getPhysicalExperts(layer, expert);
      const turn = seen.get(expert) ?? 0;
      seen.set(expert, turn + 1);
      counts[source][slots[turn % slots.length]]++;
    }
  });
  return counts.map((row) => row.map((count) => Math.round(count * times)));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    output: { type: 'string', short: 'o' },
    experts: { type: 'string' },
    ranks: { type: 'string', default: RANKS.join() },
    'tokens-per-rank': { type: 'string', default: TOKENS_PER_RANK.join() },
    cost: { type: 'string' },
  },
});
if (values.output === undefined || values.experts === undefined || positionals.length === 0)
  throw new Error('usage: cases.mjs -o CASES.json --experts N ROUTES.npy...');
const cost =
  values.cost === undefined
    ? 'h200:deepseek-v3:bf16'
    : costModel(JSON.parse(await readFile(values.cost, 'utf8')));
const numExperts = Number(values.experts);
const { numLayers, topK, tokens } = await readTokens(positionals, numExperts);
const half = Math.floor(tokens.length / 2);
const [known, coming] = [tokens.slice(0, half), tokens.slice(half)];
const layers = Array.from({ length: NUM_LAYERS }, (_, i) => Math.floor(((i + 0.5) * numLayers) / NUM_LAYERS));
const numPhysicalExperts = numExperts + REDUNDANT_SLOTS;
const cases = [];
for (const numRanks of values.ranks.split(',').map(Number)) {
  if (numPhysicalExperts % numRanks !== 0) continue;
  for (const tokensPerRank of values['tokens-per-rank'].split(',').map(Number)) {
    const wanted = tokensPerRank * numRanks;
    // Beyond what was recorded counts are enlarged.
    const size = Math.min(wanted, Math.floor(half / NUM_STEPS));
    const times = wanted / size;
    const sizes = { numLayers, numLogicalExperts: numExperts, numPhysicalExperts, numRanks };
    for (const [policy, makePolicy] of Object.entries(POLICIES)) {
      const mapping = await plan(makePolicy, sizes, cut(known, size), topK, times);
      const steps = cut(coming, size).slice(0, NUM_STEPS);
      cases.push({
        policy,
        numRanks,
        slotsPerRank: numPhysicalExperts / numRanks,
        tokensPerRank,
        enlarged: times,
        counts: steps.flatMap((step) =>
          layers.map((layer) =>
            countsOf(step, layer, mapping, { numRanks, numPhysicalExperts, topK, times }),
          ),
        ),
      });
    }
  }
}
await mkdir(dirname(values.output), { recursive: true });
const recordings = positionals.map((path) => path.split('/').at(-1));
const document = { format: 'eplb-layer-cases', version: 1, recordings, numExperts, topK, layers, cases };
await writeFile(values.output, `${JSON.stringify(document)}\n`);
console.log(`${values.output}: ${cases.length} cases of ${NUM_STEPS} steps x ${NUM_LAYERS} layers`);

// Shows what any placement can do about active experts in decode: the fewest that the worst rank can have,
// beside what policies reach. Tokens are recorded; the first half is planned from, the second is counted.
//
//   node bench/active-experts.mjs --experts 64 ROUTES.npy... [--ranks 16,32,64] [--tokens-per-rank 8,64]
//
// 'bound': what no placement is below, not even one of its own for each step, made when tokens are known.
// 'coldest': every spare slot has a copy of the expert with fewest tokens, one a rank, then of the next: a
// slot that seldom gets a token takes no time. 'for decode': adaptive with a cost by which slots with tokens
// take time, and tokens none. All are means over layers and steps.
import { parseArgs } from 'node:util';
import { AdaptiveEplbPolicy, costModel, DefaultEplbPolicy } from 'expert-load-balancer';
import { readTokens } from './read-tokens.mjs';

/** Only whether a slot has a token counts: decode, where slots wait for their weights. */
const DECODE = costModel({ slotSeconds: { floor: 30e-6, perToken: 0 }, bytesPerExpert: 0 });
const LAYERS = 4;
/** Steps planned from, and counted, at most. */
const MOST_STEPS = 32;

/** Loads of steps of `size` tokens, [steps][layers x experts]. */
function stepsOf(tokens, size, { layers, topK, numExperts }) {
  const numSteps = Math.min(MOST_STEPS, Math.floor(tokens.length / size));
  return Array.from({ length: numSteps }, (_, step) => {
    const loads = new Float32Array(layers.length * numExperts);
    for (const token of tokens.slice(step * size, (step + 1) * size)) {
      layers.forEach((layer, i) => {
        for (const expert of token.slice(layer * topK, (layer + 1) * topK)) loads[i * numExperts + expert]++;
      });
    }
    return loads;
  });
}

function samplesOf(steps, { layers, numExperts }) {
  const data = new Float32Array(steps.length * layers.length * numExperts);
  for (const [i, step] of steps.entries()) data.set(step, i * step.length);
  return { data, numSamples: steps.length, numLayers: layers.length, numExperts };
}

/** Active slots of the worst rank: the copies of an expert take its tokens in turn. */
function worstActive(mapping, steps, { layers, numExperts }, numRanks, numSlots) {
  let sum = 0;
  for (const step of steps) {
    for (let layer = 0; layer < layers.length; layer++) {
      const active = new Int32Array(numRanks);
      for (let expert = 0; expert < numExperts; expert++) {
        const tokens = step[layer * numExperts + expert];
        const slots = mapping.getPhysicalExperts(layer, expert);
        for (const slot of slots.slice(0, tokens)) active[Math.floor((slot * numRanks) / numSlots)]++;
      }
      sum += Math.max(...active);
    }
  }
  return sum / (steps.length * layers.length);
}

/** A layer's slots of each expert where all spare ones are of the coldest experts: [experts][slots]. */
function spareOnColdest(loads, numRanks, numSlots) {
  const order = [...loads.keys()].sort((a, b) => loads[a] - loads[b] || a - b);
  const ranks = Array.from({ length: numRanks }, () => new Set());
  const slotsOf = loads.map(() => []);
  let spare = numSlots - loads.length;
  for (const expert of order) {
    const further = Math.min(spare, numRanks - 1);
    spare -= further;
    const emptiest = [...ranks.keys()].sort((a, b) => ranks[a].size - ranks[b].size || a - b);
    for (const rank of emptiest.slice(0, 1 + further)) {
      slotsOf[expert].push((rank * numSlots) / numRanks + ranks[rank].size);
      ranks[rank].add(expert);
    }
  }
  return slotsOf;
}

/**
 * The fewest active slots of the worst rank, whatever the placement. Every slot holds an expert, and a rank
 * no expert twice: copies beyond the first are active least often where the expert has fewest tokens.
 */
function bound(steps, { layers, numExperts }, numRanks, numSlots) {
  let sum = 0;
  for (const step of steps) {
    for (let layer = 0; layer < layers.length; layer++) {
      const loads = step.slice(layer * numExperts, (layer + 1) * numExperts).sort();
      let active = loads.filter((tokens) => tokens > 0).length;
      let left = numSlots - numExperts;
      for (const tokens of loads) {
        const copies = Math.min(left, numRanks - 1);
        active += Math.min(copies, Math.max(0, tokens - 1));
        left -= copies;
      }
      sum += Math.ceil(active / numRanks);
    }
  }
  return sum / (steps.length * layers.length);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    experts: { type: 'string' },
    ranks: { type: 'string', default: '16,32,64' },
    'tokens-per-rank': { type: 'string', default: '8,16,32,64,128,256' },
  },
});
if (values.experts === undefined || positionals.length === 0)
  throw new Error('usage: active-experts.mjs --experts N ROUTES.npy...');
const numExperts = Number(values.experts);
const { numLayers, topK, tokens } = await readTokens(positionals, numExperts);
const layers = Array.from({ length: LAYERS }, (_, i) => Math.floor(((i + 0.5) * numLayers) / LAYERS));
const shape = { layers, topK, numExperts };
const half = Math.floor(tokens.length / 2);

console.log(
  '| ranks x slots | tokens a rank | steps | bound | coldest | default | adaptive | for decode | room | coldest | for decode |',
);
console.log('|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|');
for (const numRanks of values.ranks.split(',').map(Number)) {
  // A quarter of the experts twice, and as many more as the ranks need for slots alike.
  const numSlots = Math.ceil((1.25 * numExperts) / numRanks) * numRanks;
  for (const tokensPerRank of values['tokens-per-rank'].split(',').map(Number)) {
    const size = tokensPerRank * numRanks;
    const known = stepsOf(tokens.slice(0, half), size, shape);
    const coming = stepsOf(tokens.slice(half), size, shape);
    if (known.length < 1 || coming.length < 1) {
      console.log(`| ${numRanks} x ${numSlots / numRanks} | ${tokensPerRank} | too few tokens recorded |`);
      continue;
    }
    const plan = (options, steps) =>
      new AdaptiveEplbPolicy(options).planExperts(samplesOf(steps, shape), numSlots, 1, 1, numRanks).mapping;
    const sums = Array.from({ length: layers.length }, (_, layer) =>
      Array.from({ length: numExperts }, (_, expert) =>
        known.reduce((sum, step) => sum + step[layer * numExperts + expert], 0),
      ),
    );
    const count = (mapping) => worstActive(mapping, coming, shape, numRanks, numSlots);
    const decode = { price: 0, cost: DECODE };
    const least = bound(coming, shape, numRanks, numSlots);
    const slots = sums.map((loads) => spareOnColdest(loads, numRanks, numSlots));
    const coldest = count({ getPhysicalExperts: (layer, expert) => slots[layer][expert] });
    const byDefault = count(new DefaultEplbPolicy().rebalanceExperts(sums, numSlots, 1, 1, numRanks));
    const adaptive = count(plan({ price: 0 }, known));
    const forDecode = count(plan(decode, known));
    const share = (value) => `${(100 * (1 - value / byDefault)).toFixed(1)} %`;
    const figures = [least, coldest, byDefault, adaptive, forDecode].map((value) => value.toFixed(2));
    const cells = [`${numRanks} x ${numSlots / numRanks}`, tokensPerRank, coming.length, ...figures];
    console.log(`| ${[...cells, share(least), share(coldest), share(forDecode)].join(' | ')} |`);
  }
}

// What moves buy after a rank's death: the slowest rank of repaired mappings beside that of a plan made
// freely on the ranks that are left, over random cases.
//
//   node bench/repair-curve.mjs [--cases 1000] [--seed 1]
//
// A case: 32 to 128 experts on 8 to 32 ranks with 6 to 50 % of redundant slots, loads drawn log-normally, two
// layers, a plan of the adaptive policy, and one to three ranks of it dead.
import { parseArgs } from 'node:util';
import { AdaptiveEplbPolicy, repair } from 'expert-load-balancer';

/** Moves that each layer may have. */
const LEVELS = [0, 1, 2, 4, 8, 16, Number.POSITIVE_INFINITY];
const LAYERS = 2;

/** Mulberry32. */
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function caseOf(random) {
  const between = (least, most) => least + Math.floor(random() * (most - least + 1));
  for (;;) {
    const numRanks = between(8, 32);
    const numExperts = between(32, 128);
    const perRank = Math.ceil((numExperts * (1.06 + 0.44 * random())) / numRanks);
    const numDead = between(1, 3);
    if (perRank * (numRanks - numDead) < numExperts) continue;
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const spread = 0.3 + random();
    const data = Float32Array.from({ length: LAYERS * numExperts }, () => 100 * Math.exp(spread * normal()));
    const deadRanks = [];
    while (deadRanks.length < numDead) {
      const rank = between(0, numRanks - 1);
      if (!deadRanks.includes(rank)) deadRanks.push(rank);
    }
    return { numRanks, perRank, deadRanks, loads: { data, numLayers: LAYERS, numExperts } };
  }
}

/** The loads of the slowest ranks, one a layer. */
function slowest(mapping, { data, numExperts }, numRanks) {
  const { phyToLog, replicaCount, numPhysicalExperts } = mapping;
  const perRank = numPhysicalExperts / numRanks;
  return Array.from({ length: LAYERS }, (_, layer) => {
    const ranks = new Float64Array(numRanks);
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const expert = phyToLog[layer * numPhysicalExperts + slot];
      if (expert < 0) continue;
      const at = layer * numExperts + expert;
      ranks[Math.floor(slot / perRank)] += data[at] / replicaCount[at];
    }
    return Math.max(...ranks);
  });
}

const { values } = parseArgs({
  options: { cases: { type: 'string', default: '1000' }, seed: { type: 'string', default: '1' } },
});
const numCases = Number(values.cases);
const rows = LEVELS.map(() => ({ ratios: [], moves: 0, hostLoads: 0 }));
for (let i = 0; i < numCases; i++) {
  const { numRanks, perRank, deadRanks, loads } = caseOf(randomOf(Number(values.seed) * 1e6 + i));
  const policy = new AdaptiveEplbPolicy({ price: 0 });
  const numSlots = numRanks * perRank;
  const before = policy.rebalanceExperts(loads, numSlots, 1, 1, numRanks);
  const slotsPerRank = Array.from({ length: numRanks }, (_, rank) =>
    deadRanks.includes(rank) ? 0 : perRank,
  );
  const free = policy.rebalanceExperts(loads, numSlots, 1, 1, numRanks, { slotsPerRank });
  const best = slowest(free, loads, numRanks);
  LEVELS.forEach((level, at) => {
    const repaired = repair(before, { numRanks, deadRanks, loads, maxMoves: level * LAYERS });
    const ratios = slowest(repaired.mapping, loads, numRanks).map((load, layer) => load / best[layer]);
    rows[at].ratios.push(...ratios);
    rows[at].moves += repaired.moves / LAYERS;
    rows[at].hostLoads += repaired.hostLoads.length / LAYERS;
  });
}
console.log(
  `${numCases} cases, of a layer: moves allowed, moves made, host loads, slowest rank / free plan's`,
);
console.log('(mean, the worst of twenty)');
for (const [at, { ratios, moves, hostLoads }] of rows.entries()) {
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  const worst = ratios.sort((a, b) => a - b)[Math.floor(0.95 * ratios.length)];
  const made = [moves / numCases, hostLoads / numCases].map((count) => count.toFixed(2));
  console.log([LEVELS[at], ...made, mean.toFixed(4), worst.toFixed(4)].join('\t'));
}

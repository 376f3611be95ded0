// Writes what transfer_test.py executes: transfer plans of this package, with what they are forecast to take.
//
//   node bench/gpu/transfers.mjs -o build/gpu/transfers.json --ranks 2 [--cost COST.json]
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { costModel, DefaultEplbPolicy, ExpertMapping, planTransfer } from 'expert-load-balancer';

const NUM_LAYERS = 4;
const SLOTS_PER_RANK = 16;
const REDUNDANCY = 1.25;
const CHANGED = { 'a tenth changed': 0.1, 'all dealt anew': 1 };
const WAYS = {
  rounds: { schedule: 'rounds' },
  batch: { schedule: 'batch' },
  'in place, two staging slots': { mode: 'inPlace', staging: 2 },
};

/** The same numbers every time. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const rowsOf = (mapping) => mapping.toJSON().phyToLog;

/** The mapping with a share of its slots exchanged for others of the same layer. */
function exchanged(mapping, share, random) {
  const rows = rowsOf(mapping).map((row) => {
    for (let i = 0; i < (row.length * share) / 2; i++) {
      const [a, b] = [Math.floor(random() * row.length), Math.floor(random() * row.length)];
      [row[a], row[b]] = [row[b], row[a]];
    }
    return row;
  });
  return ExpertMapping.fromPhysicalToLogical(rows, mapping.numLogicalExperts);
}

function dealt(mapping, random) {
  const rows = rowsOf(mapping).map((row) =>
    row.map((expert) => [random(), expert]).sort((a, b) => a[0] - b[0]),
  );
  return ExpertMapping.fromPhysicalToLogical(
    rows.map((row) => row.map(([, expert]) => expert)),
    mapping.numLogicalExperts,
  );
}

const { values } = parseArgs({
  options: {
    output: { type: 'string', short: 'o' },
    ranks: { type: 'string' },
    cost: { type: 'string', default: 'h200:deepseek-v3:bf16' },
  },
});
if (values.output === undefined || values.ranks === undefined)
  throw new Error('usage: transfers.mjs -o TRANSFERS.json --ranks N [--cost FILE | PRESET]');
const cost = costModel(
  values.cost.endsWith('.json') ? JSON.parse(await readFile(values.cost, 'utf8')) : values.cost,
);
const numRanks = Number(values.ranks);
const numSlots = numRanks * SLOTS_PER_RANK;
const numExperts = Math.floor(numSlots / REDUNDANCY);
const random = randomFrom(20_250_718);
const loads = Array.from({ length: NUM_LAYERS }, () =>
  Array.from({ length: numExperts }, () => Math.floor(1000 * random() ** 4)),
);
const from = new DefaultEplbPolicy().rebalanceExperts(loads, numSlots, 1, 1, numRanks);
const transfers = [];
for (const [changed, share] of Object.entries(CHANGED)) {
  const to = share === 1 ? dealt(from, random) : exchanged(from, share, random);
  for (const [way, options] of Object.entries(WAYS)) {
    const plan = planTransfer(from, to, { numRanks, cost, ...options });
    transfers.push({ name: `${changed}, ${way}`, from: rowsOf(from), to: rowsOf(to), plan });
  }
}
await mkdir(dirname(values.output), { recursive: true });
await writeFile(
  values.output,
  `${JSON.stringify({ format: 'eplb-transfers', version: 1, cost: cost.name, transfers })}\n`,
);
console.log(`${values.output}: ${transfers.length} plans for ${numRanks} ranks`);

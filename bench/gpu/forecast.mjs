// Sets what layer_test.py measured beside the cost model's forecast.
//
//   node bench/gpu/forecast.mjs layers.json [--cost h200:deepseek-v3:bf16 | cost.json] [--json FILE]
//
// It prints, for each number of ranks and tokens, the slowest rank and the layer as measured and as forecast,
// in microseconds, means over steps and layers; how far the forecast is off; and whether it puts the policies
// in the order that was measured, wherever two differ by more than 3 %.
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { costModel } from 'expert-load-balancer';

/** Policies nearer than this are not put in an order. */
const DIFFERENT = 0.03;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cost: { type: 'string', default: 'h200:deepseek-v3:bf16' }, json: { type: 'string' } },
});
if (positionals.length !== 1) throw new Error('usage: forecast.mjs LAYERS.json [--cost C] [--json FILE]');
const measured = JSON.parse(await readFile(positionals[0], 'utf8'));
if (measured.format !== 'eplb-layer-times') throw new Error(`${positionals[0]}: is no file of layer_test.py`);
const cost = costModel(
  values.cost.endsWith('.json') ? JSON.parse(await readFile(values.cost, 'utf8')) : values.cost,
);

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];

/** Tokens of the slots of each rank, and those that each rank gets from others. */
function ranksOf({ numRanks, slotsPerRank }, counts) {
  const sum = (rows, slot) => rows.reduce((all, row) => all + row[slot], 0);
  return Array.from({ length: numRanks }, (_, rank) => {
    const own = Array.from({ length: slotsPerRank }, (_, i) => rank * slotsPerRank + i);
    const others = counts.filter((_, source) => source !== rank);
    return {
      slots: own.map((slot) => sum(counts, slot)),
      received: own.reduce((all, slot) => all + sum(others, slot), 0),
    };
  });
}

function rowOf(result) {
  const { policy, numRanks, slotsPerRank, tokensPerRank, enlarged, counts, rankMicroseconds, layers } =
    result;
  const all = counts.map((one) => ranksOf(result, one));
  const slowest = all.map((ranks) => Math.max(...ranks.map(({ slots }) => cost.rankSeconds(slots))) * 1e6);
  const row = {
    ...{ policy, numRanks, slotsPerRank, tokensPerRank, enlarged },
    slowestRank: mean(rankMicroseconds.map((ranks) => Math.max(...ranks))),
    slowestRankForecast: mean(slowest),
    meanRank: mean(rankMicroseconds.map(mean)),
    balancedness:
      mean(all.map((ranks) => mean(ranks.map(tokensOf)))) /
      mean(all.map((ranks) => Math.max(...ranks.map(tokensOf)))),
    maxActiveExperts: mean(all.map((ranks) => Math.max(...ranks.map(activeOf)))),
  };
  if (layers === undefined) return row;
  const whole = all.map((ranks) =>
    cost.layerSeconds(
      ranks.map(({ slots }) => slots),
      { tokensReceived: ranks.map(({ received }) => received) },
    ),
  );
  return {
    ...row,
    expertsOfLayer: mean(layers.map(({ expertsMicroseconds }) => expertsMicroseconds)),
    layer: mean(layers.map(({ layerMicroseconds }) => layerMicroseconds)),
    layerForecast: mean(whole) * 1e6,
  };
}

function tokensOf({ slots }) {
  return slots.reduce((sum, tokens) => sum + tokens, 0);
}

function activeOf({ slots }) {
  return slots.filter((tokens) => tokens > 0).length;
}

const rows = measured.results.map(rowOf);

/** Pairs of policies that differ, of the same batch, and those that the forecast has the other way round. */
function orders(time, forecast) {
  let pairs = 0;
  const wrong = [];
  for (const a of rows) {
    for (const b of rows) {
      const isSame = a.numRanks === b.numRanks && a.tokensPerRank === b.tokensPerRank;
      if (!isSame || a[time] === undefined || !(a[time] > (1 + DIFFERENT) * b[time])) continue;
      pairs++;
      if (a[forecast] <= b[forecast])
        wrong.push(`${a.numRanks} ranks, ${a.tokensPerRank} tokens: ${b.policy} before ${a.policy}`);
    }
  }
  return { pairs, wrong };
}

function errors(time, forecast) {
  const off = rows.flatMap((row) => (row[time] === undefined ? [] : [row[forecast] / row[time] - 1]));
  if (off.length === 0) return undefined;
  const sizes = off.map(Math.abs);
  return { cases: off.length, median: median(sizes), worst: Math.max(...sizes), mean: mean(off) };
}

const summary = {
  device: measured.device,
  numGpus: measured.numGpus,
  driver: measured.driver,
  torch: measured.torch,
  date: measured.date,
  cost: cost.name,
  slowestRank: errors('slowestRank', 'slowestRankForecast'),
  layer: errors('layer', 'layerForecast'),
  order: orders('slowestRank', 'slowestRankForecast'),
  layerOrder: orders('layer', 'layerForecast'),
};

console.log(
  `${measured.device} x ${measured.numGpus}, driver ${measured.driver}, PyTorch ${measured.torch}, ` +
    `${measured.date}; ${measured.kernel}; forecast of ${cost.name}\n`,
);
const us = (value) => (value === undefined ? '' : value.toFixed(0));
const off = (time, forecast) =>
  time === undefined ? '' : `${forecast < time ? '' : '+'}${(100 * (forecast / time - 1)).toFixed(1)} %`;
console.log(
  '| ranks x slots | tokens a rank | policy | balancedness | active, worst | slowest rank | forecast | off | layer | forecast | off |',
);
console.log('|---|---|---|---|---|---|---|---|---|---|---|');
for (const row of rows) {
  const cells = [
    `${row.numRanks} x ${row.slotsPerRank}`,
    `${row.tokensPerRank}${row.enlarged > 1 ? ` (x ${row.enlarged.toFixed(1)})` : ''}`,
    row.policy,
    row.balancedness.toFixed(3),
    row.maxActiveExperts.toFixed(1),
    us(row.slowestRank),
    us(row.slowestRankForecast),
    off(row.slowestRank, row.slowestRankForecast),
    us(row.layer),
    us(row.layerForecast),
    off(row.layer, row.layerForecast),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}
const told = (title, error, { pairs, wrong }) => {
  if (error === undefined) return;
  console.log(
    `\n${title}: ${error.cases} cases, the forecast is off by ${(100 * error.median).toFixed(1)} % in the ` +
      `median, ${(100 * error.worst).toFixed(1)} % at worst, ${(100 * error.mean).toFixed(1)} % in the mean; ` +
      `${pairs - wrong.length} of ${pairs} orders of policies that differ by more than 3 % are right.`,
  );
  for (const line of wrong) console.log(`  wrong: ${line}`);
};
told('Slowest rank', summary.slowestRank, summary.order);
told('Layer', summary.layer, summary.layerOrder);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify({ ...summary, rows })}\n`);

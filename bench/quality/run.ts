/**
 * Balancedness on steps that were not planned with, against moves; what moves without reason; and the score
 * in the public competition's cost model: `tsx bench/quality/run.ts [DIRECTORY] [--markdown] [--plot FILE]`.
 * By default the recording that ships; a directory with all recordings gives the whole table. The library
 * must be built.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AdaptiveEplbPolicy, type AdaptiveEplbPolicyOptions } from 'expert-load-balancer';
import { alignedTable } from '../table.ts';
import { LEAST_COMPETITION_SCORE, type Reached, reachedOf } from './bars.ts';
import { bestOf, competeByAdaptive, competeByDefault } from './competition.ts';
import { markdownTable } from './markdown.ts';
import { qualityPlot } from './plot.ts';
import type { Score } from './protocol.ts';
import { quietOf } from './quiet.ts';
import { type Row, rowsIn } from './recordings.ts';
import { bestWithin, PRICES, STRAYED_PRICES, type Strayed, type Sweep, strayOf, sweepOf } from './sweep.ts';

const SHIPPED = fileURLToPath(new URL('../../recordings', import.meta.url));
const SEED = 20_250_718;
const WINDOWS = [8, 16, 32, 64];
const CADENCES = [1, 2, 4, 8, 16, 26, 32, 52];
/** The adaptive policy's choices: fewer than the default's windows and cadences. */
const COMPETING: readonly AdaptiveEplbPolicyOptions[] = [
  { price: 0.0002 },
  { price: 0.0005 },
  { price: 0.001 },
  { price: 0.002 },
];
const COMPETING_WINDOWS = [64];
const COMPETING_CADENCES = [1, 2, 4];

function main(): void {
  const options = { markdown: { type: 'boolean', default: false }, plot: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const print = values.markdown ? printMarkdown : printPlain;
  const rows = rowsIn(positionals[0] ?? SHIPPED);
  if (rows.length === 0) throw new Error(`${positionals[0]}: has no recordings`);
  const sweeps = rows.map((row) => {
    const begin = performance.now();
    const sweep = sweepOf(row);
    console.error(`(${row.name} took ${((performance.now() - begin) / 1000).toFixed(1)} s)`);
    return sweep;
  });
  print('quality: balancedness of the steps after each plan (ratio of sums), and moves a layer', [
    [
      'recording',
      'static',
      'default',
      `default, ${new AdaptiveEplbPolicy().rememberedSteps} steps`,
      'default that knows the next steps',
      'adaptive, no price, the window alone',
      'adaptive, no price',
      'at 1/10 of the moves',
      'at 1/30',
      'without options',
    ],
    ...sweeps.map(summaryOf),
  ]);
  print('quality: the same by price', [
    ['price', ...rows.map(({ name }) => name)],
    ...PRICES.map((price, i) => [price.toPrecision(2), ...sweeps.map(({ priced }) => cell(priced[i]!))]),
    ['time of a plan without options, ms', ...sweeps.map(({ usual }) => usual.msPerPlan.toFixed(1))],
  ]);
  print(
    'quality: planned from each of the first steps on, by price: balancedness least, mean and most, and ' +
      'mean moves',
    [
      ['recording', ...STRAYED_PRICES.map(String)],
      ...rows.map((row) => [row.name, ...strayOf(row).map(spread)]),
    ],
  );
  print(
    `quality: moves on loads that give no reason for any, 26x64->80, 16 ranks, 16 samples, seed ${SEED}`,
    [
      [
        'price',
        'windows after the first plan',
        'the same step all the time',
        'chance draws from equal means',
      ],
      ...[0, 0.002].map((price) => {
        const quiet = quietOf(price, SEED);
        return [String(price), quiet.windows, quiet.onSteadyLoads, quiet.onNoise].map(String);
      }),
    ],
  );
  const contests = rows.map(contestOf);
  print("quality: the public competition's cost model, each at its own best window and cadence", [
    [
      'recording',
      'default, s',
      'window, every',
      'moved slots',
      'adaptive, s',
      'window, every',
      'moved slots',
      'ms a plan',
      'score',
    ],
    ...contests.map(({ cells }) => cells),
  ]);
  const reached = [
    ...sweeps.flatMap(reachedOf),
    ...contests.map(({ name, score }) => ({
      what: `${name}: score in the cost model`,
      least: LEAST_COMPETITION_SCORE,
      value: score,
    })),
  ];
  print('quality: goals', [['goal', 'at least', 'reached', ''], ...reached.map(verdict)]);
  if (values.plot !== undefined) {
    const drawn = sweeps.filter(({ row }) => row.name.startsWith('sequence'));
    writeFileSync(values.plot, qualityPlot(drawn.length > 0 ? drawn : sweeps.slice(0, 2)));
  }
}

function summaryOf(sweep: Sweep): string[] {
  const { movesPerLayer } = sweep.default;
  return [
    sweep.row.name,
    ...[
      sweep.static,
      sweep.default,
      sweep.defaultThatRemembers,
      sweep.oracle,
      sweep.forgetful,
      sweep.unpriced,
    ].map(cell),
    ...[10, 30].map((share) => cell(bestWithin(sweep, movesPerLayer / share))),
    cell(sweep.usual),
  ];
}

function cell({ balancedness, movesPerLayer }: Score): string {
  return `${balancedness.toFixed(3)}, ${movesPerLayer.toFixed(1)}`;
}

function spread({ scores }: Strayed): string {
  const values = scores.map(({ balancedness }) => balancedness);
  const mean = (of: (score: Score) => number) =>
    scores.reduce((sum, one) => sum + of(one), 0) / scores.length;
  const [least, middle, most] = [Math.min(...values), mean((one) => one.balancedness), Math.max(...values)];
  const shown = [least, middle, most].map((value) => value.toFixed(3)).join(' ');
  return `${shown}, ${mean((one) => one.movesPerLayer).toFixed(1)}`;
}

function contestOf(row: Row): { name: string; score: number; cells: string[] } {
  const byDefault = bestOf(row, competeByDefault, WINDOWS, CADENCES);
  const ours = COMPETING.map((options) =>
    bestOf(row, competeByAdaptive(options), COMPETING_WINDOWS, COMPETING_CADENCES),
  );
  const best = ours.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const score = (100 * byDefault.seconds) / best.seconds;
  const cells = [byDefault, best].flatMap(({ seconds, window, every, movedSlots }) => [
    seconds.toFixed(2),
    `${window}, ${every}`,
    String(movedSlots),
  ]);
  return { name: row.name, score, cells: [row.name, ...cells, best.planMs.toFixed(1), score.toFixed(1)] };
}

function verdict({ what, least, value }: Reached): string[] {
  const digits = least >= 10 ? 1 : 3;
  return [what, String(least), value.toFixed(digits), value >= least ? 'met' : 'NOT MET'];
}

function printPlain(title: string, rows: readonly (readonly string[])[]): void {
  console.log(
    `${title}\n${alignedTable(
      rows,
      rows[0]!.map((_, column) => column > 0),
    )}\n`,
  );
}

function printMarkdown(title: string, rows: readonly (readonly string[])[]): void {
  console.log(markdownTable(title, rows));
}

main();

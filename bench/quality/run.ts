/**
 * Balancedness on steps that were not planned with, against moves: `tsx bench/quality/run.ts [DIRECTORY]`. By default the
 * recording that ships; a directory with all recordings gives the whole table.
 */
import { existsSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { byAdaptive, byDefault, byNobody, byOracle, type Planner, type Row, score } from './protocol.ts';
import { join, readSteps } from './recordings.ts';

const SHIPPED = fileURLToPath(new URL('../../recordings', import.meta.url));

const PLANNERS: readonly (readonly [name: string, planner: Planner])[] = [
  ['static', byNobody],
  ['default', byDefault],
  ['oracle', byOracle],
  ['no price', byAdaptive({ price: 0, confidence: 0, numKicks: 10 })],
  ['price 0.0015', byAdaptive({ price: 0.0015, confidence: 0 })],
  ['usual', byAdaptive({})],
  ['price 0.001, kicks', byAdaptive({ price: 0.001, confidence: 0, numKicks: 20 })],
  ['price 0.006', byAdaptive({ price: 0.006 })],
];

function rowsIn(directory: string): Row[] {
  const file = (name: string) => joinPath(directory, `${name}.routes.npy`);
  const lite = (name: string) => file(`deepseek-v2-lite.${name}`);
  const sizes = { numSlots: 80, numRanks: 16, window: 16, every: 8 };
  const rows: Row[] = [];
  const names = ['law', 'intent', 'summary'];
  if (names.every((name) => existsSync(lite(name)))) {
    const steps = join(names.map((name) => readSteps(lite(name), 64)));
    rows.push({ ...sizes, name: 'sequence', steps }, { ...sizes, name: 'sequence', steps, numRanks: 8 });
  }
  for (const name of names) {
    if (existsSync(lite(name))) rows.push({ ...sizes, name, steps: readSteps(lite(name), 64) });
  }
  const gpt = file('gpt-oss-20b.mmlu-pro');
  if (existsSync(gpt)) {
    rows.push({ name: 'gpt-oss', steps: readSteps(gpt, 32), numSlots: 40, numRanks: 8, window: 8, every: 4 });
  }
  return rows;
}

for (const row of rowsIn(process.argv[2] ?? SHIPPED)) {
  console.log(`${row.name}, ${row.numRanks} ranks, ${row.steps.loads.length} steps`);
  for (const [name, planner] of PLANNERS) {
    const { balancedness, movesPerLayer, msPerPlan } = score(row, planner);
    const cells = [balancedness.toFixed(4), movesPerLayer.toFixed(1), msPerPlan.toFixed(2)];
    console.log(`  ${name.padEnd(14)} ${cells.map((cell) => cell.padStart(7)).join('')}`);
  }
}

/**
 * Judges the adaptive policy as it is made, beside other planners, on many loads that it was never shown. The
 * library must be built.
 *
 *     tsx bench/quality/judge/run.ts LOADS [RECORDINGS] --seeds 10-19 [--part 1/8] [--json FILE] [--further]
 *     tsx bench/quality/judge/run.ts --tables FILE...
 *
 * LOADS is a directory of loads named family-seed.npy, [steps x layers x experts] of u1 or u4; RECORDINGS one
 * of recorded routes. Results are lines of JSON, on standard output or appended to a file: part i of n does
 * the jobs i, i + n and so on, so that n processes do them all. `--only TEXT` does the jobs with that text in
 * their name, `--list` names them. The second form makes the tables from such files.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { listJobs } from './jobs.ts';
import { FURTHER_PLANNERS, PLANNERS } from './planners.ts';
import type { Result } from './results.ts';
import type { Seeds } from './settings.ts';
import { judgeTables } from './tables.ts';

/** A line of a file: results of several processes are put back in order. */
type Line = Result & { readonly job: number };

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tables: { type: 'boolean', default: false },
      seeds: { type: 'string' },
      part: { type: 'string', default: '1/1' },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      further: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  if (values.tables) {
    console.log(judgeTables(readLines(positionals)));
    return;
  }
  const [loads, recordings] = positionals;
  if (loads === undefined) throw new Error('LOADS: a directory of loads named family-seed.npy is needed');
  const planners = values.further ? { ...PLANNERS, ...FURTHER_PLANNERS } : PLANNERS;
  const [part, numParts] = readPair('--part', values.part, '/');
  const jobs = listJobs({ loads, recordings }, readSeeds(values.seeds), planners)
    .map((job, index) => ({ ...job, index }))
    .filter(({ name }) => name.includes(values.only))
    .filter((_, i) => i % numParts === part - 1);
  for (const { name, index, run } of jobs) {
    if (values.list) {
      console.log(name);
      continue;
    }
    const begin = performance.now();
    try {
      write({ job: index, ...(await run()) }, values.json);
    } catch (error) {
      // One job that fails does not take the others with it.
      console.error(`${name} failed:`, error);
      process.exitCode = 1;
    }
    console.error(`(${name} took ${((performance.now() - begin) / 1000).toFixed(1)} s)`);
  }
}

function write(line: Line, file: string | undefined): void {
  const text = `${JSON.stringify(line)}\n`;
  if (file === undefined) process.stdout.write(text);
  else appendFileSync(file, text);
}

function readLines(files: readonly string[]): Line[] {
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  const results = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Line);
  if (results.length === 0) throw new Error('--tables: the files have no results');
  // A job that was done again replaces what it was before.
  return [...new Map(results.map((line) => [line.job, line])).values()].sort((a, b) => a.job - b.job);
}

function readSeeds(text: string | undefined): Seeds {
  if (text === undefined) throw new Error('--seeds: is needed, as in --seeds 1-3');
  const [first, last] = readPair('--seeds', text, '-');
  return { first, last };
}

/** Two whole numbers from 1 on. */
function readPair(option: string, text: string, separator: '/' | '-'): [number, number] {
  const numbers = text.split(separator).map(Number);
  const [first = 0, last = 0] = numbers;
  const isValid = numbers.length === 2 && numbers.every(Number.isSafeInteger) && first >= 1 && first <= last;
  if (!isValid) throw new Error(`${option}: ${text} is not of the form 1${separator}8`);
  return [first, last];
}

await main();

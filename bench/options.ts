import { parseArgs } from 'node:util';
import type { Suite } from './suite.ts';

export const USAGE = `tsx --expose-gc bench/run.ts [options]
  --only NAME[,NAME]  run these suites only
  --quick             few repetitions: to see that everything runs, not for its times
  --seed N            seed of the workloads
  --json FILE         write machine, seed and all figures to a file
  --markdown          print Markdown, as bench/RESULTS.md holds it`;

export interface Options {
  readonly suites: readonly Suite[];
  readonly isQuick: boolean;
  readonly seed: number;
  readonly json: string | undefined;
  readonly isMarkdown: boolean;
}

const DEFAULT_SEED = 20_250_718;

/** @throws Error with a message for the user */
export function readOptions(args: readonly string[], suites: readonly Suite[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      seed: { type: 'string', default: String(DEFAULT_SEED) },
      json: { type: 'string' },
      markdown: { type: 'boolean', default: false },
    },
  });
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed: ${values.seed} is not a whole number`);
  return {
    suites:
      values.only === undefined ? suites : values.only.split(',').map((name) => suiteNamed(name, suites)),
    isQuick: values.quick,
    seed,
    json: values.json,
    isMarkdown: values.markdown,
  };
}

function suiteNamed(name: string, suites: readonly Suite[]): Suite {
  const suite = suites.find((candidate) => candidate.name === name);
  if (suite !== undefined) return suite;
  throw new Error(`--only: there is no suite ${name}, but ${suites.map((known) => known.name).join(', ')}`);
}

import { parseArgs } from 'node:util';
import type { Suite } from './suite.ts';

export const USAGE = `tsx --expose-gc bench/run.ts [options]
  --only NAME[,NAME]  run these suites only
  --quick             few repetitions: to see that everything runs, not for its times
  --seed N            seed of the workloads
  --json FILE         write machine, seed and all figures to a file
  --plot FILE         draw time per slot against slots (the suite scaling) as SVG
  --markdown          print Markdown, as bench/RESULTS.md holds it`;

export interface Options {
  readonly suites: readonly Suite[];
  readonly isQuick: boolean;
  readonly seed: number;
  readonly json: string | undefined;
  readonly plot: string | undefined;
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
      plot: { type: 'string' },
      markdown: { type: 'boolean', default: false },
    },
  });
  const seed = Number(values.seed);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed: ${values.seed} is not a whole number`);
  const chosen = values.only === undefined ? suites : namedSuites('--only', values.only, suites);
  if (values.plot !== undefined && !chosen.some(({ name }) => name === 'scaling')) {
    throw new Error('--plot: needs the suite scaling');
  }
  return {
    suites: chosen,
    isQuick: values.quick,
    seed,
    json: values.json,
    plot: values.plot,
    isMarkdown: values.markdown,
  };
}

/**
 * The suites of a list of names, separated by commas.
 *
 * @throws Error with a message for the user
 */
export function namedSuites(option: string, names: string, suites: readonly Suite[]): Suite[] {
  return names.split(',').map((name) => {
    const suite = suites.find((candidate) => candidate.name === name);
    if (suite !== undefined) return suite;
    throw new Error(
      `${option}: there is no suite ${name}, but ${suites.map((known) => known.name).join(', ')}`,
    );
  });
}

/**
 * Compares two runs of the benchmarks: see USAGE. Exit code 1 for a loss, 2 for runs that cannot be compared.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { comparisonSummary, comparisonTable } from './comparison.ts';
import { type Comparison, compareReports } from './judge.ts';
import { namedSuites } from './options.ts';
import type { Report, ReportedFigure } from './report.ts';
import { readReport, unlikeness } from './report-file.ts';
import { headOf, runSuites } from './run-suites.ts';
import type { Suite } from './suite.ts';
import { SUITES } from './suites/index.ts';

const USAGE = `tsx --expose-gc bench/compare.ts BASE.json [NEW.json] [--only NAME[,NAME]]
  BASE.json, NEW.json  reports of bench/run.ts --json; without NEW.json the suites of BASE.json are run now
  --only NAME[,NAME]   compare these suites only`;

/** A loss has to be seen this often in a row before it counts, where the suites can be run again. */
const ATTEMPTS = 3;
/** A load average that other work hardly shows in. */
const QUIET = 0.5;

interface Request {
  readonly base: Report;
  readonly next: Report | undefined;
  readonly suites: readonly Suite[];
}

/** @throws Error with a message for the user */
function readRequest(args: string[]): Request {
  const { values, positionals } = parseArgs({
    args,
    options: { only: { type: 'string' } },
    allowPositionals: true,
  });
  const [baseFile, nextFile, ...others] = positionals;
  if (baseFile === undefined || others.length > 0) throw new Error(USAGE);
  const base = readReport(baseFile);
  const next = nextFile === undefined ? undefined : readReport(nextFile);
  const different = unlikeness(base, next ?? headOf(base));
  if (different !== undefined) throw new Error(`the runs are not to be compared: ${different}`);
  const wanted = values.only === undefined ? SUITES : namedSuites('--only', values.only, SUITES);
  const suites = wanted.filter((suite) => figuresOf([suite], base.figures).length > 0);
  if (suites.length === 0) throw new Error(`${baseFile}: has no figures of these suites`);
  return { base, next, suites };
}

interface Compared {
  readonly loadBefore: number;
  /** All of the new run. */
  readonly figures: readonly ReportedFigure[];
  readonly comparisons: readonly Comparison[];
}

async function main({ base, next, suites }: Request): Promise<void> {
  const before = withSuites(suites, base);
  const { loadBefore, figures, comparisons } =
    next === undefined ? await compareWithNow(before, suites) : compareWith(before, withSuites(suites, next));
  console.log(comparisonTable(comparisons));
  const isMissing = ({ id }: ReportedFigure) => !comparisons.some((compared) => compared.next.id === id);
  for (const { id } of before.figures.filter(isMissing)) console.log(`only in the base run: ${id}`);
  for (const { id } of figures.filter(isMissing)) console.log(`only in the new run: ${id}`);
  console.log(`\n${comparisonSummary(comparisons).join('\n')}`);
  const busiest = Math.max(base.loadAverage.before, loadBefore);
  if (busiest > QUIET)
    console.log(`load average up to ${busiest} before the runs: other work may be what is seen here`);
  process.exitCode = comparisons.some(isLoss) ? 1 : 0;
}

function compareWith(base: Report, next: Report): Compared {
  const { loadAverage, figures } = next;
  return { loadBefore: loadAverage.before, figures, comparisons: compareReports(base, next) };
}

/** Runs the suites, and once more those with a loss: it counts when every run has it. */
async function compareWithNow(base: Report, suites: readonly Suite[]): Promise<Compared> {
  const { seed, isQuick } = base;
  const first = compareWith(base, await runSuites({ suites, seed, isQuick }));
  let { comparisons } = first;
  for (let attempt = 2; attempt <= ATTEMPTS; attempt++) {
    const lost = comparisons.filter(isLoss).map(({ next }) => next);
    const again = suites.filter((suite) => figuresOf([suite], lost).length > 0);
    if (again.length === 0) break;
    console.error(`${lost.length} lost: run ${attempt} of at most ${ATTEMPTS}`);
    const rerun = compareReports(base, await runSuites({ suites: again, seed, isQuick }));
    comparisons = comparisons.map((comparison) => {
      const other = rerun.find(({ next }) => next.id === comparison.next.id);
      return isLoss(comparison) && other !== undefined && !isLoss(other) ? other : comparison;
    });
  }
  return { ...first, comparisons };
}

function withSuites(suites: readonly Suite[], report: Report): Report {
  return { ...report, figures: figuresOf(suites, report.figures) };
}

function figuresOf(suites: readonly Suite[], figures: readonly ReportedFigure[]): ReportedFigure[] {
  return figures.filter(({ id }) => suites.some(({ name }) => id.startsWith(`${name}/`)));
}

function isLoss({ outcome }: Comparison): boolean {
  return outcome === 'lost';
}

let request: Request;
try {
  request = readRequest(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(2);
}
await main(request);

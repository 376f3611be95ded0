/** Runs the benchmarks: see USAGE in options.ts. The library must be built. */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { describeMachine, loadAverage } from './machine.ts';
import { type Limits, sinkTotal } from './measure.ts';
import { type Options, readOptions, USAGE } from './options.ts';
import { barSummary, headLines, markdownTable, plainTable, type Report, reported } from './report.ts';
import type { SuiteContext } from './suite.ts';
import { SUITES } from './suites/index.ts';

const WHOLE: Limits = { time: 400, iterations: 10, warmupTime: 150, warmupIterations: 5 };
const QUICK: Limits = { time: 20, iterations: 3, warmupTime: 10, warmupIterations: 2 };

async function main(options: Options): Promise<void> {
  const { suites, isQuick, isMarkdown, seed } = options;
  const head = { format: 1, machine: describeMachine(), seed, isQuick } as const;
  const before = loadAverage();
  const context: SuiteContext = {
    seed,
    isQuick,
    limits: isQuick ? QUICK : WHOLE,
    pick: (whole, quick) => (isQuick ? quick : whole),
  };
  if (globalThis.gc === undefined)
    console.error('without --expose-gc garbage of one task is collected in the next');
  console.log(`${headLines(head, before).join(isMarkdown ? '\\\n' : '\n')}\n`);
  const figures: Report['figures'][number][] = [];
  for (const suite of suites) {
    const start = performance.now();
    const results = await suite.run(context);
    console.error(`(${suite.name} took ${((performance.now() - start) / 1000).toFixed(1)} s)`);
    figures.push(...results.map(reported));
    if (isMarkdown) console.log(`### ${suite.name}: ${suite.title}\n\n${markdownTable(results)}\n`);
    else console.log(`${suite.name}: ${suite.title}\n${plainTable(results)}\n`);
  }
  const after = loadAverage();
  const summary = [...barSummary(figures), `load average ${after} after the run`];
  console.log(summary.join(isMarkdown ? '\\\n' : '\n'));
  console.error(`(sink ${sinkTotal()})`);
  const report: Report = { ...head, loadAverage: { before, after }, figures };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
}

let options: Options;
try {
  options = readOptions(process.argv.slice(2), SUITES);
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exit(2);
}
await main(options);

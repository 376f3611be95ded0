/** Runs the benchmarks: see USAGE in options.ts. The library must be built. */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { sinkTotal } from './measure.ts';
import { type Options, readOptions, USAGE } from './options.ts';
import { scalingPlot } from './plot.ts';
import { barSummary, headLines, markdownTable, plainTable } from './report.ts';
import { runSuites } from './run-suites.ts';
import { SUITES } from './suites/index.ts';

async function main(options: Options): Promise<void> {
  const { isMarkdown, json, plot } = options;
  const endOfLine = isMarkdown ? '\\\n' : '\n';
  const report = await runSuites(options, {
    begun: (head, loadBefore) => console.log(`${headLines(head, loadBefore).join(endOfLine)}\n`),
    ended: ({ name, title }, figures) => {
      if (isMarkdown) console.log(`### ${name}: ${title}\n\n${markdownTable(figures)}\n`);
      else console.log(`${name}: ${title}\n${plainTable(figures)}\n`);
    },
  });
  const { figures, loadAverage } = report;
  console.log([...barSummary(figures), `load average ${loadAverage.after} after the run`].join(endOfLine));
  console.error(`(sink ${sinkTotal()})`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  if (plot !== undefined) writeFileSync(plot, scalingPlot(figures));
}

let options: Options;
try {
  options = readOptions(process.argv.slice(2), SUITES);
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exit(2);
}
await main(options);

import type { Command } from 'commander';
import picocolors from 'picocolors';
import { EplbError } from '../../errors.ts';
import type { ReplayResult } from '../../replay/index.ts';
import { wholeNumber } from '../option-values.ts';
import { Progress } from '../progress.ts';
import { renderCompare } from '../replay/compare-view.ts';
import {
  addRecordingOptions,
  addReplayOptions,
  type CommonReplayOptions,
  listOf,
} from '../replay/options.ts';
import { checkOutputs, reportOf, writeReports } from '../replay/outputs.ts';
import { runReplays } from '../replay/run.ts';
import { referenceTask, scoresOf } from '../replay/score.ts';
import { setUp, taskOf } from '../replay/setup.ts';
import { wantsColor } from '../terminal.ts';

interface CompareCommandOptions extends CommonReplayOptions {
  readonly replicas: number;
  readonly ranks: number;
  readonly policies: readonly string[];
  readonly interval?: number;
  readonly from?: string;
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addRecordingOptions(command)
    .requiredOption(
      '--replicas <N>',
      'slots a layer: experts and redundant experts',
      wholeNumber('--replicas', 1),
    )
    .requiredOption('--ranks <N>', 'devices', wholeNumber('--ranks', 1))
    .option(
      '--policies <P,...>',
      'static, default, locality, adaptive, or files of modules such as ./mine.js',
      listOf('--policies', (text) => text),
      ['static', 'default', 'locality', 'adaptive'],
    )
    .option(
      '--interval <N>',
      'plan every so many steps; 32 when no condition is given',
      wholeNumber('--interval', 1),
    )
    .option('--from <file>', 'the placement to begin with');
  addReplayOptions(command).action(run);
}

async function run(path: string, options: CompareCommandOptions): Promise<void> {
  const { policies, replicas, ranks, interval, from, json, report: html } = options;
  const inputs = from === undefined ? [path] : [path, from];
  const outputs = await checkOutputs({ '--json': json, '--report': html }, inputs);
  const setup = await setUp(path, options);
  const tasks = await Promise.all(
    policies.map((policy) =>
      taskOf(setup, { policy, replicas, ranks, interval, from, name: policy }, options),
    ),
  );
  const reference = await referenceTask(setup, tasks, options);
  const { outcomes, wasInterrupted } = await runReplays([...tasks, ...reference], {
    size: setup.size,
    progress: new Progress(process.stderr),
    stopsAtError: true,
  });
  const results = outcomes
    .slice(0, tasks.length)
    .filter((outcome) => outcome !== undefined) as ReplayResult[];
  if (results.length === 0) throw new EplbError('EPLB_CANCELLED', 'interrupted before the first step');
  const scores = wasInterrupted
    ? undefined
    : scoresOf(setup, results, outcomes[tasks.length] as ReplayResult | undefined);
  const report = reportOf(setup.facts, results, scores === undefined ? {} : { scores });
  await writeReports(outputs, report);
  const colors = picocolors.createColors(wantsColor(process.stdout));
  const written = [...outputs.values()].map((output) => output.path);
  process.stdout.write(renderCompare(report, written, colors));
  if (wasInterrupted) process.exitCode = 130;
}

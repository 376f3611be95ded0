import type { Command } from 'commander';
import picocolors from 'picocolors';
import type { ReplayResult } from '../../replay/index.ts';
import { wholeNumber } from '../option-values.ts';
import { Progress } from '../progress.ts';
import { addRecordingOptions, addReplayOptions, type CommonReplayOptions } from '../replay/options.ts';
import { checkOutputs, reportOf, writeReports } from '../replay/outputs.ts';
import { renderReplay } from '../replay/replay-view.ts';
import { runReplays } from '../replay/run.ts';
import { referenceTask, scoresOf } from '../replay/score.ts';
import { checkStatic, setUp, taskOf } from '../replay/setup.ts';
import { renderPictures } from '../replay/terminal-pictures.ts';
import { wantsColor } from '../terminal.ts';

interface ReplayCommandOptions extends CommonReplayOptions {
  readonly replicas: number;
  readonly ranks: number;
  readonly policy: string;
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
      '--policy <P>',
      'static, default, locality, adaptive, or the file of a module such as ./mine.js',
      'default',
    )
    .option(
      '--interval <N>',
      'plan every so many steps; 32 when no condition is given',
      wholeNumber('--interval', 1),
    )
    .option('--from <file>', 'the placement to begin with');
  addReplayOptions(command).action(run);
}

async function run(path: string, options: ReplayCommandOptions): Promise<void> {
  const { policy, replicas, ranks, interval, from, json, report: html } = options;
  if (policy === 'static') checkStatic(options);
  const inputs = from === undefined ? [path] : [path, from];
  const outputs = await checkOutputs({ '--json': json, '--report': html }, inputs);
  const setup = await setUp(path, options);
  const task = await taskOf(setup, { policy, replicas, ranks, interval, from, name: policy }, options);
  const reference = await referenceTask(setup, [task], options);
  const { outcomes, wasInterrupted } = await runReplays([task, ...reference], {
    size: setup.size,
    progress: new Progress(process.stderr),
    stopsAtError: true,
  });
  const [result, ...more] = outcomes as [ReplayResult, ...ReplayResult[]];
  const scores = wasInterrupted ? undefined : scoresOf(setup, [result], more[0]);
  const report = reportOf(setup.facts, [result], scores === undefined ? {} : { scores });
  await writeReports(outputs, report);
  const colors = picocolors.createColors(wantsColor(process.stdout));
  const pictures = process.stdout.isTTY ? renderPictures(result, process.stdout.columns || 80, colors) : '';
  process.stdout.write(
    pictures +
      renderReplay(
        report,
        [...outputs.values()].map((output) => output.path),
        colors,
      ),
  );
  if (wasInterrupted) process.exitCode = 130;
}

import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { outputColors } from '../colors.ts';
import { POLICY_CHOICES } from '../policy-choice.ts';
import {
  addOnePlacementOptions,
  addRecordingOptions,
  addReplayOptions,
  type CommonReplayOptions,
  checkStatic,
  type OnePlacementOptions,
} from '../replay/options.ts';
import { replayPolicies } from '../replay/outcome.ts';
import { renderReplay } from '../replay/replay-view.ts';
import { renderPictures } from '../replay/terminal-pictures.ts';
import { print } from '../terminal.ts';

interface ReplayCommandOptions extends CommonReplayOptions, OnePlacementOptions {
  readonly policy: string;
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addOnePlacementOptions(addRecordingOptions(command)).option(
    '--policy <P>',
    `static, ${POLICY_CHOICES}`,
    'default',
  );
  addReplayOptions(command).action(run);
}

async function run(path: string, options: ReplayCommandOptions): Promise<void> {
  if (options.policy === 'static') checkStatic(options);
  const { report, written, isPrinted } = await replayPolicies(path, [options.policy], options);
  if (isPrinted) return;
  const colors = outputColors();
  const width = process.stdout.columns || 80;
  const shown = printableTexts(report);
  const pictures = process.stdout.isTTY ? renderPictures(shown.replays[0]!, width, colors) : '';
  print(process.stdout, pictures + renderReplay(shown, written, colors));
}

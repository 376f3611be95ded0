import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { outputColors } from '../colors.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
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
import { print, printText, textColumns } from '../terminal.ts';

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
  addHelpTexts(command, {
    examples: [
      ['eplb replay loads.npy --slots 80 --ranks 16 --interval 32', 'plans every 32 steps'],
      [
        'eplb replay loads.npy --slots 80 --ranks 16 --policy adaptive --cost h200:deepseek-v3 --report r.html',
        'in seconds of a GPU, with charts',
      ],
    ],
    exitCodes: [[EXIT_INTERRUPTED, 'interrupted: what there was so far was reported']],
  });
}

async function run(path: string, options: ReplayCommandOptions): Promise<void> {
  if (options.policy === 'static') checkStatic(options);
  const { report, written, isPrinted } = await replayPolicies(
    path,
    [options.policy],
    '--policy',
    'replay',
    options,
  );
  if (isPrinted) return;
  const colors = outputColors();
  const width = textColumns() ?? 80;
  const shown = printableTexts(report);
  const pictures = process.stdout.isTTY ? renderPictures(shown.replays[0]!, width, colors) : '';
  print(process.stdout, pictures);
  printText(renderReplay(shown, written, colors));
}

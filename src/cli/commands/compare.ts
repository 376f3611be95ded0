import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { POLICY_NAMES } from '../../policy/registry.ts';
import { outputColors } from '../colors.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
import { listParser } from '../option-values.ts';
import { POLICIES_CHOICES } from '../policy-choice.ts';
import { renderCompare } from '../replay/compare-view.ts';
import {
  addOnePlacementOptions,
  addRecordingOptions,
  addReplayOptions,
  type CommonReplayOptions,
  type OnePlacementOptions,
} from '../replay/options.ts';
import { replayPolicies } from '../replay/outcome.ts';
import { areAllAlike } from '../replay/too-short.ts';
import { printText } from '../terminal.ts';

interface CompareCommandOptions extends CommonReplayOptions, OnePlacementOptions {
  readonly policies: readonly string[];
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addOnePlacementOptions(addRecordingOptions(command)).option(
    '--policies <P,...>',
    `static, ${POLICIES_CHOICES}`,
    listParser('--policies', (text) => text),
    ['static', ...POLICY_NAMES],
  );
  addReplayOptions(command).action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb compare loads.npy --slots 80 --ranks 16', 'all policies'],
      [
        'eplb compare loads.npy --slots 80 --ranks 16 --policies static,adaptive --json c.json',
        'two of them',
      ],
    ],
    exitCodes: [[EXIT_INTERRUPTED, 'interrupted: what there was so far was reported']],
  });
}

async function run(path: string, options: CompareCommandOptions): Promise<void> {
  const { report, written, isPrinted } = await replayPolicies(
    path,
    options.policies,
    '--policies',
    'compare',
    options,
  );
  if (isPrinted) return;
  const colors = outputColors();
  const shown = printableTexts(report);
  // Rows that are the same by nature compare nothing: the advice says why.
  const isOne = areAllAlike(report.replays);
  const rows = isOne ? [{ ...shown.replays[0]!, name: 'all' }] : shown.replays;
  printText(renderCompare({ ...shown, replays: rows }, written, colors));
}

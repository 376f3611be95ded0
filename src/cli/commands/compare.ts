import type { Command } from 'commander';
import picocolors from 'picocolors';
import { printableTexts } from '../../core/printable.ts';
import { POLICY_NAMES } from '../../policy/registry.ts';
import { POLICIES_CHOICES } from '../policy-choice.ts';
import { renderCompare } from '../replay/compare-view.ts';
import {
  addOnePlacementOptions,
  addRecordingOptions,
  addReplayOptions,
  type CommonReplayOptions,
  listOf,
  type OnePlacementOptions,
} from '../replay/options.ts';
import { replayPolicies } from '../replay/outcome.ts';
import { print, wantsColor } from '../terminal.ts';

interface CompareCommandOptions extends CommonReplayOptions, OnePlacementOptions {
  readonly policies: readonly string[];
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addOnePlacementOptions(addRecordingOptions(command)).option(
    '--policies <P,...>',
    `static, ${POLICIES_CHOICES}`,
    listOf('--policies', (text) => text),
    ['static', ...POLICY_NAMES],
  );
  addReplayOptions(command).action(run);
}

async function run(path: string, options: CompareCommandOptions): Promise<void> {
  const { report, written } = await replayPolicies(path, options.policies, options);
  const colors = picocolors.createColors(wantsColor(process.stdout));
  print(process.stdout, renderCompare(printableTexts(report), written, colors));
}

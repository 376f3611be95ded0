import { jsonText } from '../../core/printable.ts';
import type { RecordingFacts, ReplayReport, ReplayResult, SweepResult } from '../../replay/index.ts';
import { type Outputs, writeOutput } from '../output-file.ts';
import { namingInput } from '../standard-streams.ts';
import { packageVersion } from '../version.ts';

/** Makes the report of replays, with the versions that they were made with. */
export function reportOf(
  recording: RecordingFacts,
  replays: readonly ReplayResult[],
  more: { readonly scores?: ReplayReport['scores']; readonly sweep?: SweepResult } = {},
): ReplayReport {
  const { scores, sweep } = more;
  return {
    kind: 'replay-report',
    formatVersion: 1,
    versions: {
      package: packageVersion(),
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
    },
    recording,
    replays,
    ...(scores === undefined ? {} : { scores }),
    ...(sweep === undefined ? {} : { sweep }),
  };
}

/** Writes what was asked for: `--json` and `--report`. */
export async function writeReports(outputs: Outputs, report: ReplayReport): Promise<void> {
  const json = outputs.get('--json');
  if (json !== undefined) await writeOutput(json, namingInput(`${jsonText(report)}\n`));
  const html = outputs.get('--report');
  if (html === undefined) return;
  // Its assets are as large as the rest of the command together.
  const { renderReport } = await import('../../report/render.ts');
  await writeOutput(html, await renderReport(report));
}

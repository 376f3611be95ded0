import { jsonText } from '../../core/printable.ts';
import type { ReplayReport } from '../../replay/index.ts';
import { type OutputFiles, writeOutput } from '../output-file.ts';
import { namingInput } from '../standard-streams.ts';

/** Writes what was asked for: `--json` and `--report`. */
export async function writeReports(outputs: OutputFiles, report: ReplayReport): Promise<void> {
  const json = outputs.get('--json');
  if (json !== undefined) await writeOutput(json, namingInput(`${jsonText(report)}\n`));
  const html = outputs.get('--report');
  if (html === undefined) return;
  // Its assets are as large as the rest of the command together.
  const { renderReport } = await import('../../report/render.ts');
  await writeOutput(html, await renderReport(report));
}

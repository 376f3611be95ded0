import { EplbRangeError } from '../../core/errors.ts';
import { jsonText } from '../../core/printable.ts';
import type { ReplayReport } from '../../replay/index.ts';
import { checkOutput, type OutputFile, writeOutput } from '../output-file.ts';

/** The files that a command was asked to write, by their options. */
type OutputPaths = Readonly<Record<string, string | undefined>>;

/** Files found to be writable, by their options. */
type Outputs = ReadonlyMap<string, OutputFile>;

/**
 * Checks all files that are to be written, before the run.
 *
 * @param paths by option, such as `--json`
 * @param inputs files that are read
 * @throws EplbError EPLB_FILE, EplbRangeError EPLB_OPTION when two are the same file
 */
export async function checkOutputs(paths: OutputPaths, inputs: readonly string[]): Promise<Outputs> {
  const outputs = new Map<string, OutputFile>();
  for (const [option, path] of Object.entries(paths)) {
    if (path === undefined) continue;
    const output = await checkOutput(path, inputs, option);
    const same = [...outputs.values()].find(({ target }) => target === output.target);
    if (same !== undefined) {
      throw new EplbRangeError('EPLB_OPTION', `${option}: is the same file as ${same.field}`);
    }
    outputs.set(option, output);
  }
  return outputs;
}

/** Writes what was asked for: `--json` and `--report`. */
export async function writeReports(outputs: Outputs, report: ReplayReport): Promise<void> {
  const json = outputs.get('--json');
  if (json !== undefined) await writeOutput(json, `${jsonText(report)}\n`);
  const html = outputs.get('--report');
  if (html === undefined) return;
  // Its assets are as large as the rest of the command together.
  const { renderReport } = await import('../../report/render.ts');
  await writeOutput(html, await renderReport(report));
}

import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { EplbError } from '../../core/errors.ts';
import { jsonLines } from '../../core/printable.ts';
import { fileReason } from '../../formats/bytes/file-reason.ts';
import { inputFile } from '../../formats/input-file.ts';
import { grouped } from '../../formats/number-text.ts';
import { quotePath } from '../../formats/text.ts';
import { costModel } from '../../index.ts';
import { renderCalibration } from '../calibrate-view.ts';
import { calibrate, calibrationReport, readCalibration } from '../calibration.ts';
import { sayingErrors } from '../error-message.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { contradiction } from '../option-values.ts';
import { checkOutputs, writeOutput } from '../output-file.ts';
import { inputPath } from '../standard-streams.ts';
import { print } from '../terminal.ts';

interface CalibrateOptions {
  readonly output?: string;
  readonly report?: string;
  readonly name?: string;
  readonly base?: string;
  readonly json?: JsonOption;
}

/** The script that ships beside dist/. */
const SCRIPT = new URL('../plugins/python/eplb_calibrate.py', import.meta.url);
/** Whose links a single device is given. */
const USUAL_BASE = 'h200:deepseek-v3:bf16';

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addJsonOption(command)
    .argument(
      '[measured]',
      'what the script wrote, or - for standard input; without it the script is printed',
    )
    .option('-o, --output <file>', 'write the cost model, for --cost of the other commands')
    .option('--report <file>', 'write a page of what was measured beside the fit')
    .option('--name <text>', 'what the cost model is called; by the device and the experts when left out')
    .option(
      '--base <C>',
      `DEVICE:MODEL[:PRECISION] whose links are taken where none were measured (${USUAL_BASE})`,
    )
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb calibrate > eplb_calibrate.py', 'the script that measures'],
      [
        'python3 eplb_calibrate.py --hidden 7168 --intermediate 2048 --slots 20 -o measured.json',
        'on the machine with the GPUs, with PyTorch',
      ],
      ['eplb calibrate measured.json -o cost.json', 'then anywhere'],
    ],
  });
}

async function run(given: string | undefined, options: CalibrateOptions): Promise<void> {
  if (given === undefined) {
    const first = Object.entries(options).find(([, value]) => value !== undefined);
    if (first !== undefined) throw contradiction(`--${first[0]}: the script is printed; give what it wrote`);
    return print(process.stdout, await readScript());
  }
  const path = await inputPath(given);
  const outputs = await checkOutputs(
    { '--output': options.output, '--json': jsonPath(options.json), '--report': options.report },
    [path],
  );
  const base = sayingErrors(
    (message) => `--base: ${message}`,
    () => costModel(options.base ?? USUAL_BASE),
  );
  const file = await inputFile(path, 'measured');
  const value = await file.json().finally(() => file.close());
  const measured = sayingErrors(
    (message) => `measured: ${quotePath(path)}: ${message}`,
    () => readCalibration(value),
  );
  const { device, hiddenSize, expertSize, precision } = measured;
  const usualName = `${device.toLowerCase()}:${hiddenSize}x${expertSize}:${precision}`;
  const calibrated = calibrate(measured, base, options.name ?? usualName);
  const output = outputs.get('--output');
  if (output !== undefined) await writeOutput(output, `${jsonLines(calibrated.cost)}\n`);
  const page = outputs.get('--report');
  if (page !== undefined) {
    const { renderCalibrationPage } = await import('../../report/render.ts');
    const { cost, fit } = calibrated;
    const experts = `${grouped(hiddenSize)} x ${grouped(expertSize)}, ${precision}`;
    const report = { ...measured, experts, cost, fit, base: base.name };
    await writeOutput(page, await renderCalibrationPage(report));
  }
  const written = [...outputs.values()].map((one) => one.path);
  await writeResult(outputs.get('--json'), calibrationReport(measured, calibrated, base.name), (colors) =>
    renderCalibration(measured, calibrated, base.name, written, colors),
  );
}

async function readScript(): Promise<string> {
  try {
    return await readFile(SCRIPT, 'utf8');
  } catch (error) {
    throw new EplbError('EPLB_FILE', `cannot read the script of this package: ${fileReason(error)}`, {
      cause: error,
    });
  }
}

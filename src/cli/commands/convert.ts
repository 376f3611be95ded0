import type { Command } from 'commander';
import { EplbError } from '../../core/errors.ts';
import { printableTexts } from '../../core/printable.ts';
import { kindOfFile } from '../../formats/file-kind.ts';
import { counted } from '../../formats/number-text.ts';
import { openRecording } from '../../formats/open.ts';
import { formatToWrite, nameNotes } from '../../formats/placements/format-by-name.ts';
import { inspectPlacement } from '../../formats/placements/inspect.ts';
import { openPlacement } from '../../formats/placements/open.ts';
import { quotePath } from '../../formats/text.ts';
import { writeLoads } from '../../formats/write/loads.ts';
import { LOAD_WRITER_NAMES, loadWriterFor } from '../../formats/write/registry.ts';
import type { ConvertReport } from '../convert-report.ts';
import { renderConversion } from '../convert-report.ts';
import { addTopologyOption, devicesOf } from '../device-options.ts';
import { flagName } from '../flag-name.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { DENSE_ROWS_HELP, FIRST_LAYER_HELP } from '../option-help.ts';
import { resolveRange, wholeParser } from '../option-values.ts';
import { checkOutputs, type OutputFile, writeOutput } from '../output-file.ts';
import { Progress } from '../progress.ts';
import { addReadingOptions, openOptionsOf, type ReadingOptions } from '../reading-options.ts';
import { byteBar, partNotes, stepsIn } from '../recorded-loads.ts';
import { inputPath } from '../standard-streams.ts';

interface ConvertOptions extends ReadingOptions {
  readonly to?: string;
  readonly topology?: string;
  readonly ranks?: number;
  readonly firstLayer?: number;
  readonly denseRows?: number;
  readonly json?: JsonOption;
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeParser(name, least);
  addReadingOptions(
    addTopologyOption(addJsonOption(command)),
    'format of <in>, instead of the one recognised by its content',
    'logical experts a layer, when <in> does not have them; routes need it',
  )
    .argument(
      '<in>',
      '- is standard input; recorded loads or a placement, of any format that eplb formats lists',
    )
    .argument('<out>', 'the file to write; - is standard output')
    .option('--to <F>', "format of <out>, instead of the one its name asks for (.json: SGLang's)")
    .option('--ranks <N>', 'devices: vllm-ascend and omni-infer placements list them', whole('--ranks'))
    .option('--first-layer <N>', FIRST_LAYER_HELP, whole('--first-layer', 0))
    .option('--dense-rows <N>', DENSE_ROWS_HELP, whole('--dense-rows', 0))
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb convert placement.json moe_load_balancer.yaml --first-layer 3', "SGLang's to TensorRT-LLM's"],
      ['eplb convert loads.npy loads.csv --to csv-counts --steps 0:8', 'the first steps of loads to CSV'],
      ['gzip -dc loads.npy.gz | eplb convert - - --to json > loads.json', 'in a pipe'],
    ],
  });
}

async function run(given: string, path: string, options: ConvertOptions): Promise<void> {
  const input = await inputPath(given);
  const outputs = await checkOutputs({ out: path, '--json': jsonPath(options.json) }, [input]);
  const output = outputs.get('out')!;
  const kind = options.as === undefined ? await kindOfFile(input, options.from, 'in') : 'loads';
  const report =
    kind === 'loads'
      ? await convertLoads(input, output, options)
      : await convertPlacement(input, output, options);
  await writeResult(outputs.get('--json'), report, (colors) =>
    renderConversion(printableTexts(report), colors),
  );
}

async function convertPlacement(
  input: string,
  output: OutputFile,
  options: ConvertOptions,
): Promise<ConvertReport> {
  refuse(options, ['steps', 'tokensPerStep'], 'a placement');
  const to = formatToWrite(output.path, options.to);
  const placement = await openPlacement(input, {
    field: 'in',
    format: options.from,
    numExperts: options.experts,
    denseRows: options.denseRows,
  });
  const { missing, outside } = inspectPlacement(placement);
  const flaw = missing ?? outside;
  const { topology, ranks, firstLayer } = options;
  const devices = await devicesOf({ ...(topology && { topology }), ...(ranks && { ranks }) });
  const written = await to.write(placement, { numRanks: devices.ranks, firstLayer });
  await writeOutput(output, written.bytes);
  const { numLayers, numPhysicalExperts, numLogicalExperts } = placement;
  return {
    kind: 'convert-report',
    formatVersion: 1,
    converted: 'placement',
    from: { path: input, format: placement.format },
    to: { path: output.path, format: to.name, bytes: written.bytes.length },
    shape: [numLayers, numPhysicalExperts],
    holds:
      `${counted(numLayers, 'layer')} of ${counted(numLogicalExperts, 'expert')} in ` +
      `${counted(numPhysicalExperts, 'slot')}`,
    notes: [
      ...placement.notes,
      ...written.notes,
      ...nameNotes(output.path, to),
      ...(flaw === undefined ? [] : [`no engine takes it, see eplb validate: ${flaw.first}`]),
    ],
  };
}

async function convertLoads(
  input: string,
  output: OutputFile,
  options: ConvertOptions,
): Promise<ConvertReport> {
  refuse(options, ['topology', 'ranks', 'firstLayer', 'denseRows'], 'recorded loads');
  const to = options.to ?? loadWriterFor(output.path);
  if (to === undefined) {
    const known = LOAD_WRITER_NAMES.join(', ');
    throw new EplbError(
      'EPLB_OPTION',
      `--to: the name ${quotePath(output.path)} does not say which format of loads to write; give ${known}`,
    );
  }
  const recording = await openRecording(input, openOptionsOf(options));
  try {
    const progress = new Progress(process.stderr);
    const of = await stepsIn(recording, progress);
    const { from, to: end } = resolveRange(options.steps, of, 'step');
    const onStep = byteBar(progress, 'converting', recording.numBytes);
    const written = writeLoads(to, { recording, from, to: end, onStep });
    let bytes = 0;
    const counting = async function* () {
      for await (const chunk of written.chunks) {
        bytes += chunk.length;
        yield chunk;
      }
    };
    await writeOutput(output, counting());
    progress.stop();
    const { format, routes, numLayers, numLogicalExperts, layerNumbers, notes } = recording;
    const summed =
      routes === undefined
        ? []
        : [`routes of ${counted(routes.tokensPerStep, 'token')} are added up to a step`];
    return {
      kind: 'convert-report',
      formatVersion: 1,
      converted: 'loads',
      from: { path: input, format },
      to: { path: output.path, format: to, bytes },
      shape: [end - from, numLayers, numLogicalExperts],
      holds:
        `${counted(end - from, 'step')} x ${counted(numLayers, 'layer')} x ` +
        `${counted(numLogicalExperts, 'expert')}`,
      notes: [
        ...notes,
        ...partNotes(recording, { from, to: end, of }),
        ...summed,
        ...written.notes,
        ...numberNotes(layerNumbers),
      ],
    };
  } finally {
    await recording.close();
  }
}

/** None of the formats that are written says how the model numbers its layers. */
function numberNotes(layerNumbers: readonly number[] | undefined): string[] {
  if (layerNumbers === undefined || layerNumbers[0] === 0) return [];
  const range = `${layerNumbers[0]} to ${layerNumbers.at(-1)}`;
  return [`the model's numbers of the layers, ${range}, are dropped: layers count from 0 in the file`];
}

/** Refuses options that say nothing about what is converted: they would be thought to do something. */
function refuse(options: ConvertOptions, names: readonly (keyof ConvertOptions)[], what: string): void {
  const given = names.find((name) => options[name] !== undefined);
  if (given === undefined) return;
  throw new EplbError('EPLB_OPTION', `${flagName(given)}: it has no meaning for ${what}, which <in> holds`);
}

import type { Command } from 'commander';
import { Option } from 'commander';
import { checkTopology } from '../../core/check-topology.ts';
import { EplbError, EplbRangeError } from '../../core/errors.ts';
import { jsonText, printableTexts } from '../../core/printable.ts';
import { mappingOf } from '../../formats/placements/mapping.ts';
import { openPlacement } from '../../formats/placements/open.ts';
import type { Placement } from '../../formats/placements/placement.ts';
import { quotePath } from '../../formats/text.ts';
import { type CostModel, type ExpertMapping, planTransfer, type TransferPlan } from '../../index.ts';
import { addTopologyOption, type Devices, devicesOf } from '../device-options.ts';
import { sayingErrors } from '../error-message.ts';
import { flagName } from '../flag-name.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { contradiction, listParser, numberParser, wholeParser } from '../option-values.ts';
import { checkOutputs, writeOutput } from '../output-file.ts';
import { chooseSlotCost } from '../replay/cost-choice.ts';
import { addCostOptions } from '../replay/options.ts';
import { inputPath } from '../standard-streams.ts';
import { transferReport } from '../transfer-report.ts';
import { renderTransfer } from '../transfer-view.ts';

interface TransferCommandOptions {
  readonly topology?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly experts?: number;
  readonly bytesPerExpert?: number;
  readonly cost?: string;
  readonly device?: string;
  readonly model?: string;
  readonly duplex: 'full' | 'half';
  readonly staging?: 0 | 1 | 2;
  readonly relay?: boolean;
  readonly deadRanks?: readonly number[];
  readonly maxBytesInFlight?: number;
  readonly schedule: 'auto' | 'rounds' | 'batch';
  readonly output?: string;
  readonly report?: string;
  readonly json?: JsonOption;
}

/** The exit code when some slots do not get their expert. */
const UNDONE = 3;

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeParser(name, least);
  const words = (flags: string, text: string, choices: readonly string[], standard: string) =>
    new Option(flags, `${text}: ${choices.join(', ')}`).choices(choices).default(standard);
  addTopologyOption(addJsonOption(command))
    .argument('<from>', '- for standard input; the placement that the ranks hold')
    .argument('<to>', 'the placement that they are to hold')
    .option('--ranks <N>', 'devices, when the files do not have them', whole('--ranks'))
    .option('--nodes <N>', 'sets of ranks joined by the fast network; 1 when left out', whole('--nodes'))
    .option('--experts <N>', 'logical experts a layer, when the files do not have them', whole('--experts'))
    .option(
      '--bytes-per-expert <N>',
      'bytes of the weights of an expert, in place of those of the cost',
      numberParser('--bytes-per-expert', 0, 1e15),
    )
    .addOption(words('--duplex <D>', 'whether a rank sends and receives at once', ['full', 'half'], 'full'))
    .option(
      '--staging <N>',
      'move in place, with 0, 1 or 2 spare slots a rank; into buffers when left out',
      whole('--staging', 0),
    )
    .option('--relay', 'let ranks pass on what they have received')
    .option(
      '--dead-ranks <N,...>',
      'ranks that are lost',
      listParser('--dead-ranks', whole('--dead-ranks', 0)),
    )
    .option(
      '--max-bytes-in-flight <N>',
      'the most bytes that a rank sends and receives at one time',
      numberParser('--max-bytes-in-flight', 0),
    )
    .addOption(words('--schedule <S>', 'how rounds are issued', ['auto', 'rounds', 'batch'], 'auto'))
    .option('-o, --output <file>', 'write the plan: as JSON, or in bytes where the name ends with .eplt')
    .option('--report <file>', 'write a page of who sends to whom, and of the rounds')
    .action(run);
  addCostOptions(command, '');
  addHelpTexts(command, {
    examples: [
      ['eplb transfer now.json next.json --ranks 16', 'into buffers, with the time on H200s'],
      ['eplb transfer now.json next.json --ranks 16 --nodes 2 -o plan.json', 'the plan, to be executed'],
      ['eplb transfer now.json next.json --ranks 16 --report moves.html', 'as pictures'],
      [
        'eplb transfer now.json next.json --ranks 16 --bytes-per-expert 88080384 --duplex half --staging 1',
        'in place, without a link model',
      ],
    ],
    exitCodes: [[UNDONE, 'some slots do not get their expert: their rank is dead, or they need staging']],
  });
}

async function run(given: string, to: string, options: TransferCommandOptions): Promise<void> {
  const paths = [await inputPath(given), await inputPath(to)] as const;
  const { output, report: page, json } = options;
  const outputs = { '--output': output, '--json': jsonPath(json), '--report': page };
  const files = await checkOutputs(outputs, paths);
  const read = async (field: string, path: string) =>
    openPlacement(path, { field, numExperts: options.experts });
  const [before, after] = [await read('from', paths[0]), await read('to', paths[1])];
  const devices = await transferDevices(options);
  const numRanks = ranksOf(before, after, devices.ranks);
  checkAlike(before, after, paths[1]);
  const { cost, notes } = await costOf(before, options);
  const plan = planFor(
    [mappingAt(before, 'from', paths[0]), mappingAt(after, 'to', paths[1])],
    { ...devices, ranks: numRanks },
    cost,
    options,
  );
  const file = files.get('--output');
  if (file !== undefined) {
    await writeOutput(file, /\.eplt$/i.test(file.path) ? plan.toBytes() : `${jsonText(plan)}\n`);
  }
  const about = (placement: Placement, path: string) => {
    const { format, notes: own } = placement;
    return { path, format, notes: own };
  };
  const report = transferReport(plan, {
    from: about(before, paths[0]),
    to: about(after, paths[1]),
    notes,
    output: output ?? null,
  });
  const pageFile = files.get('--report');
  if (pageFile !== undefined) {
    // Its assets are as large as the rest of the command together.
    const { renderTransferReport } = await import('../../report/render.ts');
    const all = [...before.notes, ...after.notes, ...notes];
    await writeOutput(pageFile, await renderTransferReport(plan, { from: given, to, notes: all }));
  }
  await writeResult(files.get('--json'), report, (colors) =>
    renderTransfer(printableTexts(report), page, colors),
  );
  if (report.layers.some(({ undone }) => undone > 0)) process.exitCode = UNDONE;
}

function planFor(
  [from, to]: readonly [ExpertMapping, ExpertMapping],
  { ranks: numRanks, nodes: numNodes = 1, rankOptions }: Devices & { readonly ranks: number },
  cost: CostModel | undefined,
  { duplex, staging, relay, maxBytesInFlight, schedule, bytesPerExpert }: TransferCommandOptions,
): TransferPlan {
  // The library's options are the command's, in other words.
  const say = (message: string) =>
    message
      .replace(/\bnum(Ranks|Nodes)\b/g, (_, name: string) => `--${name.toLowerCase()}`)
      .replace(/^topology\.linkClasses(?=[:[])/, '--topology: linkClasses')
      .replace(/^[a-z]\w+(?=[:[])/, flagName);
  // Which slots are closed, the placements say themselves.
  const { slotsPerRank: _, deadRanks, ...devicesOnly } = rankOptions;
  return sayingErrors(say, () =>
    planTransfer(from, to, {
      topology: checkTopology({ ...sizesOf(from), numRanks, numNodes, numGroups: 1, ...devicesOnly }),
      duplex,
      schedule,
      relay: relay === true,
      ...(staging === undefined ? {} : { staging }),
      ...(deadRanks === undefined ? {} : { deadRanks }),
      ...(maxBytesInFlight === undefined ? {} : { maxBytesInFlight }),
      ...(bytesPerExpert === undefined ? {} : { bytesPerExpert }),
      ...(cost === undefined ? {} : { cost }),
    }),
  );
}

function sizesOf({ numLayers, numPhysicalExperts, numLogicalExperts }: ExpertMapping) {
  return { numLayers, numPhysicalExperts, numLogicalExperts };
}

/** The devices, with the dead ones that options name. */
async function transferDevices(options: TransferCommandOptions): Promise<Devices> {
  const devices = await devicesOf(options);
  const { deadRanks } = options;
  if (deadRanks === undefined) return devices;
  const told = devices.rankOptions.deadRanks;
  const typed = [...deadRanks].sort((a, b) => a - b);
  if (told !== undefined && told.join() !== typed.join()) {
    throw contradiction(`--dead-ranks: ${typed.join()}, but --topology has ${told.join()}`);
  }
  return { ...devices, rankOptions: { ...devices.rankOptions, deadRanks } };
}

/** Bytes alone, where they alone are given, and no seconds; else a cost as of the other commands. */
async function costOf(
  { numLayers, numLogicalExperts }: Placement,
  options: TransferCommandOptions,
): Promise<{ cost: CostModel | undefined; notes: readonly string[] }> {
  const { cost, device, model, bytesPerExpert } = options;
  const isCostGiven = cost !== undefined || device !== undefined || model !== undefined;
  if (bytesPerExpert !== undefined && !isCostGiven) return { cost: undefined, notes: [] };
  return chooseSlotCost(options, { numLayers, numLogicalExperts });
}

function ranksOf(before: Placement, after: Placement, asked: number | undefined): number {
  const told = [before.numRanks, after.numRanks].filter((ranks) => ranks !== undefined);
  const numRanks = asked ?? told[0];
  if (numRanks === undefined) {
    throw new EplbError('EPLB_OPTION', '--ranks: required, as the files do not have the number of ranks');
  }
  const other = told.find((ranks) => ranks !== numRanks);
  if (other !== undefined) throw contradiction(`--ranks: ${numRanks}, but a file has ${other} ranks`);
  const { numPhysicalExperts } = before;
  if (numPhysicalExperts % numRanks === 0) return numRanks;
  const message = `--ranks: ${numRanks} does not divide the ${numPhysicalExperts} slots of the placements`;
  throw new EplbRangeError('EPLB_SHAPE', message);
}

function checkAlike(before: Placement, after: Placement, path: string): void {
  const sizes = ({ numLayers, numPhysicalExperts, numLogicalExperts }: Placement) =>
    `${numLayers} layers of ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
  if (sizes(before) === sizes(after)) return;
  const message = `to: ${quotePath(path)}: has ${sizes(after)}; the other has ${sizes(before)}`;
  throw new EplbRangeError('EPLB_SHAPE', message);
}

function mappingAt(placement: Placement, field: string, path: string): ExpertMapping {
  return sayingErrors(
    (message) => `${field}: ${quotePath(path)}: ${message}`,
    () => mappingOf(placement),
  );
}

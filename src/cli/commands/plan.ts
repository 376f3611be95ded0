import type { Command } from 'commander';
import { checkMultiple } from '../../core/checks.ts';
import { EplbError } from '../../core/errors.ts';
import { jsonText, printableTexts } from '../../core/printable.ts';
import { formatToWrite, nameNotes } from '../../formats/placements/format-by-name.ts';
import type { PlacementFormat, WrittenPlacement } from '../../formats/placements/placement.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import type { AbstractEplbPolicy, ExpertMapping } from '../../index.ts';
import { outputColors } from '../colors.ts';
import { FIRST_LAYER_HELP, RECORDING_HELP, SLOTS_PER_RANK_HELP } from '../option-help.ts';
import { resolveRange, slotsPerRankList, stepRange, type TypedRange, wholeParser } from '../option-values.ts';
import { checkOutput, type OutputFile, writeOutput } from '../output-file.ts';
import { placementFile } from '../placement-files.ts';
import type { RecordingReport } from '../plan-report.ts';
import { renderPlan } from '../plan-view.ts';
import { makePlan } from '../plan-work.ts';
import { checkPolicySlots, choosePolicy, POLICY_CHOICES } from '../policy-choice.ts';
import { Progress } from '../progress.ts';
import { addReadingOptions, openOptionsOf, type ReadingOptions } from '../reading-options.ts';
import { type KnownRange, lengthOf, partNotes, unitOf } from '../recorded-loads.ts';
import { openBeside } from '../slot-columns.ts';
import { inputPath, optionalInputPath } from '../standard-streams.ts';
import { print } from '../terminal.ts';
import { topologyFrom } from '../topology-options.ts';

interface PlanCommandOptions extends ReadingOptions {
  readonly replicas: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
  readonly slotsPerRank?: readonly number[];
  readonly policy: string;
  readonly steps?: TypedRange;
  readonly threads?: number;
  readonly from?: string;
  readonly output?: string;
  readonly to?: string;
  readonly firstLayer?: number;
  readonly keepBetter?: boolean;
  readonly json?: boolean;
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeParser(name, least);
  addReadingOptions(command)
    .argument('<recording>', RECORDING_HELP)
    .option('--experts <N>', 'logical experts a layer; routes need it', whole('--experts'))
    .option('--format <F>', 'format of the recording, instead of the one recognised by its content')
    .requiredOption('--replicas <N>', 'slots a layer: experts and redundant experts', whole('--replicas'))
    .requiredOption('--ranks <N>', 'devices', whole('--ranks'))
    .option('--nodes <N>', 'sets of ranks joined by the fast network', whole('--nodes'), 1)
    .option('--groups <N>', 'groups of experts that routing picks together', whole('--groups'), 1)
    .option('--slots-per-rank <N,...>', SLOTS_PER_RANK_HELP, slotsPerRankList)
    .option('--policy <P>', POLICY_CHOICES, 'default')
    .option('--steps <A:B>', 'only the tokens or steps from A to before B (-N: from the end)', stepRange)
    .option('--from <file>', 'the placement to start from; what stays on a rank keeps its slot')
    .option('--keep-better', 'keep the placement that it starts from when the plan balances the loads worse')
    .option('--threads <N>', 'worker threads; 0 plans in the main thread', whole('--threads', 0))
    .option(
      '-o, --output <file>',
      'write the placement, in the format of --to or of the name (.json: SGLang)',
    )
    .option('--to <F>', 'format of the placement that is written: eplb formats lists them')
    .option('--first-layer <N>', FIRST_LAYER_HELP, whole('--first-layer', 0))
    .option('--json', 'print one JSON object instead of tables')
    .action(run);
}

async function run(given: string, typed: PlanCommandOptions): Promise<void> {
  const path = await inputPath(given);
  const from = await optionalInputPath(typed.from);
  const options = from === undefined ? typed : { ...typed, from };
  checkMultiple('--replicas', options.replicas, '--ranks', options.ranks);
  checkMultiple('--ranks', options.ranks, '--nodes', options.nodes);
  const policy = await choosePolicy(options.policy, options.threads);
  const output = await outputOf(path, options);

  const recording = await openBeside(path, openOptionsOf(options), options.from);
  try {
    await planRecording(path, recording, policy, options, output);
  } finally {
    await recording.close();
  }
}

async function planRecording(
  path: string,
  recording: LoadRecording,
  policy: AbstractEplbPolicy | URL,
  options: PlanCommandOptions,
  output: PlannedOutput | undefined,
): Promise<void> {
  const topology = topologyFrom(recording, options);
  checkPolicySlots(policy, topology);
  const { threads, from, keepBetter = false } = options;
  const progress = new Progress(process.stderr);
  const of = await lengthOf(recording, progress);
  const range = { ...resolveRange(options.steps, of, unitOf(recording)), of };
  const plan = await makePlan({ recording, range, topology, policy, threads, from, keepBetter }, progress);
  const written = await writePlan(plan.mapping, recording, output, options);

  const report = {
    recording: recordingReport(path, recording, range),
    topology,
    policy: options.policy,
    threads: plan.threads,
    from: from ?? null,
    kept: plan.kept,
    notes: plan.notes,
    planningMs: plan.planningMs,
    output: options.output ?? null,
    outputFormat: output?.format.name ?? null,
    outputNotes: written?.notes ?? [],
    ...plan.measures,
  };
  const colors = outputColors();
  const text = options.json ? `${jsonText(report)}\n` : renderPlan(printableTexts(report), colors);
  print(process.stdout, text);
}

/** The file that gets the placement, and its format. */
interface PlannedOutput {
  readonly file: OutputFile;
  readonly format: PlacementFormat;
}

async function outputOf(recording: string, options: PlanCommandOptions): Promise<PlannedOutput | undefined> {
  const { output, to, firstLayer } = options;
  if (output === undefined) {
    const given = to === undefined ? firstLayer === undefined || '--first-layer' : '--to';
    if (given === true) return undefined;
    throw new EplbError(
      'EPLB_OPTION',
      `${given}: it says how the placement is written; give -o a file as well`,
    );
  }
  const format = formatToWrite(output, to);
  return { file: await checkOutput(output, [recording]), format };
}

async function writePlan(
  mapping: ExpertMapping,
  recording: LoadRecording,
  output: PlannedOutput | undefined,
  { ranks, firstLayer }: PlanCommandOptions,
): Promise<WrittenPlacement | undefined> {
  if (output === undefined) return undefined;
  const written = await placementFile(mapping, output.format, recording, { numRanks: ranks, firstLayer });
  await writeOutput(output.file, written.bytes);
  return { ...written, notes: [...written.notes, ...nameNotes(output.file.path, output.format)] };
}

function recordingReport(path: string, recording: LoadRecording, range: KnownRange): RecordingReport {
  const { format, numberType, numLayers, numLogicalExperts, routes, notes } = recording;
  return {
    path,
    format: numberType === undefined ? format : `${format}, ${numberType}`,
    shape: [range.of, numLayers, routes?.topK ?? numLogicalExperts],
    readAs: routes === undefined ? 'loads' : 'routes',
    topK: routes?.topK ?? null,
    notes: [...notes, ...partNotes(recording, range)],
    steps: range,
  };
}

import type { Command } from 'commander';
import { EplbError } from '../../core/errors.ts';
import { domainsOfRanks } from '../../core/failure-domains.ts';
import { printableTexts } from '../../core/printable.ts';
import { MOST_THREADS } from '../../engine/cores.ts';
import { formatToWrite, nameNotes } from '../../formats/placements/format-by-name.ts';
import type { PlacementFormat, WrittenPlacement } from '../../formats/placements/placement.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import type { AbstractEplbPolicy, Dispatch, ExpertMapping } from '../../index.ts';
import { makePolicy, type PolicySetting } from '../../policy/registry.ts';
import {
  addDeviceOptions,
  addNodeOptions,
  type DeviceOptions,
  type PlacedDevices,
  placedDevices,
} from '../device-options.ts';
import { addDispatchOption, UNIFORM_NOTE } from '../dispatch-option.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, checkJson, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { FIRST_LAYER_HELP, RECORDING_HELP } from '../option-help.ts';
import { contradiction, listParser, resolveRange, wholeParser } from '../option-values.ts';
import { checkOutputs, type OutputFile, writeOutput } from '../output-file.ts';
import { placementFile } from '../placement-files.ts';
import type { PlanReport, RecordingReport } from '../plan-report.ts';
import { checkStartOptions, planLayout, readPlanStart, type StartOptions } from '../plan-start.ts';
import { renderPlan } from '../plan-view.ts';
import { makePlan } from '../plan-work.ts';
import { checkPolicySlots, choosePolicy, POLICY_CHOICES } from '../policy-choice.ts';
import { Progress } from '../progress.ts';
import { addReadingOptions, openOptionsOf, type ReadingOptions } from '../reading-options.ts';
import { type KnownRange, partNotes, rangeOfSteps, stepsIn } from '../recorded-loads.ts';
import { openBeside, slotColumnNotes } from '../slot-columns.ts';
import { inputPath, optionalInputPath } from '../standard-streams.ts';
import { topologyFrom } from '../topology-options.ts';

interface PlanCommandOptions extends ReadingOptions, DeviceOptions, StartOptions {
  readonly policy: string;
  readonly maxMoves?: number;
  readonly survive?: string;
  readonly dispatch?: Dispatch;
  readonly threads?: number;
  readonly output?: string;
  readonly to?: string;
  readonly firstLayer?: number;
  readonly keepBetter?: boolean;
  readonly json?: JsonOption;
}

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const whole = (name: string, least = 1) => wholeParser(name, least);
  addDispatchOption(addNodeOptions(addDeviceOptions(addJsonOption(addReadingOptions(command)))))
    .argument('<recording>', RECORDING_HELP)
    .option('--policy <P>', POLICY_CHOICES, 'default')
    .option('--start-from <file>', 'the placement to start from; what stays on a rank keeps its slot')
    .option(
      '--start-ranks <N>',
      'devices of --start-from, where the file does not have them and they are not --ranks',
      whole('--start-ranks'),
    )
    .option('--retire <rank,...>', 'ranks to do without', listParser('--retire', whole('--retire', 0)))
    .option('--shrink-to <N>', 'ranks to keep: the plan chooses them', whole('--shrink-to'))
    .option(
      '--max-moves <N>',
      'moves of all layers beyond those that have to be, for --policy adaptive',
      whole('--max-moves', 0),
    )
    .option(
      '--survive <level>',
      'as much load as can be survives the failure of a rank, or of a node, for --policy adaptive',
    )
    .option('--keep-better', 'keep the placement that it starts from when the plan balances the loads worse')
    .option(
      '--threads <N>',
      'worker threads; 0 plans in the main thread',
      wholeParser('--threads', 0, MOST_THREADS),
    )
    .option(
      '-o, --output <file>',
      'write the placement, in the format of --to or of the name (.json: SGLang)',
    )
    .option('--to <F>', 'format of the placement that is written: eplb formats lists them')
    .option('--first-layer <N>', FIRST_LAYER_HELP, whole('--first-layer', 0))
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb plan loads.npy --slots 80 --ranks 16 -o placement.json', 'from loads, for SGLang'],
      [
        'eplb plan routes.npy --experts 64 --slots 80 --ranks 16 --nodes 2 --policy locality --json',
        'from routes, with as few tokens between nodes as it can',
      ],
      [
        'eplb plan loads.npy --slots 80 --ranks 16 --start-from now.json --policy adaptive -o next.json',
        'with few moves from the placement of now',
      ],
      [
        'eplb plan loads.npy --slots 80 --ranks 16 --start-from now.json --shrink-to 14 --policy adaptive',
        'names the two ranks that can best be spared, and plans without them',
      ],
      [
        'eplb plan loads.npy --slots 80 --ranks 16 --nodes 4 --policy adaptive --survive node',
        'with copies of the heaviest experts on two nodes, and what that costs',
      ],
    ],
  });
}

async function run(given: string, typed: PlanCommandOptions): Promise<void> {
  const path = await inputPath(given);
  const startFrom = await optionalInputPath(typed.startFrom);
  const options = startFrom === undefined ? typed : { ...typed, startFrom };
  checkStartOptions(options);
  const devices = await placedDevices(options, 'plan');
  const policy = await choosePolicy(options.policy, options.threads, settingOf(options, devices));
  const outputs = await outputsOf(path, options);
  // The placement may take the place of the one that it starts from; the JSON may not.
  if (startFrom !== undefined) await checkJson(options.json, [startFrom]);

  const recording = await openBeside(path, openOptionsOf(options), startFrom);
  try {
    await planRecording(path, recording, policy, { ...options, devices }, outputs);
  } finally {
    await recording.close();
  }
}

async function planRecording(
  path: string,
  recording: LoadRecording,
  policy: AbstractEplbPolicy | URL,
  options: PlanCommandOptions & { readonly devices: PlacedDevices },
  outputs: PlannedOutputs,
): Promise<void> {
  const { devices } = options;
  const topology = topologyFrom(recording, devices, policy);
  const { output } = outputs;
  const { threads, startFrom, startRanks, keepBetter = false } = options;
  const start =
    startFrom === undefined ? undefined : await readPlanStart(startFrom, topology, recording, startRanks);
  const layout = planLayout(topology, start, options);
  checkPolicySlots(policy, layout.topology, closedBy(options));
  const progress = new Progress(process.stderr);
  const of = await stepsIn(recording, progress);
  const steps = { ...resolveRange(options.steps, of, 'step'), of };
  const range = rangeOfSteps(recording, steps);
  const { survive, maxMoves, dispatch } = options;
  const without = survive === undefined ? undefined : makePolicy(options.policy, { maxMoves, dispatch });
  const goal = survive === undefined ? undefined : { level: survive, without: without ?? policy };
  const task = { recording, range, layout, policy, threads, start, keepBetter, goal, dispatch };
  const plan = await makePlan(task, progress);
  const written = await writePlan(plan.mapping, recording, output, devices.ranks, options.firstLayer);

  const report: PlanReport = {
    kind: 'plan-report',
    formatVersion: 1,
    recording: recordingReport(path, recording, steps, devices.slots, startFrom),
    topology: layout.asked,
    policy: options.policy,
    threads: plan.threads,
    startFrom: startFrom ?? null,
    startRanks: start?.layout.numRanks ?? null,
    retired: layout.retired,
    kept: plan.kept,
    notes: [...(start?.notes ?? []), ...plan.notes, ...(dispatch === 'nearest' ? [UNIFORM_NOTE] : [])],
    planningMs: plan.planningMs,
    survival: plan.survival,
    output: options.output ?? null,
    outputFormat: output?.format.name ?? null,
    outputNotes: written?.notes ?? [],
    ...plan.measures,
  };
  await writeResult(outputs.json, report, (colors) => renderPlan(printableTexts(report), colors));
}

/** @throws EplbRangeError EPLB_OPTION for what only the adaptive policy can do */
function settingOf(
  { policy, maxMoves, survive, dispatch }: PlanCommandOptions,
  { ranks, rankOptions: { failureDomains } }: PlacedDevices,
): PolicySetting {
  const option = maxMoves !== undefined ? '--max-moves' : '--survive';
  if ((maxMoves !== undefined || survive !== undefined) && policy !== 'adaptive')
    throw contradiction(`${option}: only the adaptive policy can do that; give --policy adaptive`);
  if (dispatch === 'nearest' && policy !== 'adaptive')
    throw contradiction(`--dispatch: --policy ${policy} plans for even dispatch; for nearest: adaptive`);
  // Only whether there is such a level: what the ranks are is looked at with the recording.
  const levels = { numRanks: ranks, numNodes: 1, ...(failureDomains && { failureDomains }) };
  if (survive !== undefined) domainsOfRanks(levels, survive, '--survive');
  return { maxMoves, survive, dispatch };
}

/** The option that closes slots. */
function closedBy({ retire, shrinkTo, slotsPerRank }: PlanCommandOptions): string {
  if (retire !== undefined) return '--retire';
  if (shrinkTo !== undefined) return '--shrink-to';
  return slotsPerRank === undefined ? '--start-from' : '--slots-per-rank';
}

/** The file that gets the placement, and its format. */
interface PlannedOutput {
  readonly file: OutputFile;
  readonly format: PlacementFormat;
}

interface PlannedOutputs {
  readonly output: PlannedOutput | undefined;
  readonly json: OutputFile | undefined;
}

async function outputsOf(recording: string, options: PlanCommandOptions): Promise<PlannedOutputs> {
  const { output, to, firstLayer, json } = options;
  const format = output === undefined ? undefined : formatToWrite(output, to);
  if (format === undefined && (to !== undefined || firstLayer !== undefined)) {
    const given = to === undefined ? '--first-layer' : '--to';
    throw new EplbError(
      'EPLB_OPTION',
      `${given}: it says how the placement is written; give -o a file as well`,
    );
  }
  const files = await checkOutputs({ '--output': output, '--json': jsonPath(json) }, [recording]);
  const file = files.get('--output');
  return {
    output: file === undefined || format === undefined ? undefined : { file, format },
    json: files.get('--json'),
  };
}

async function writePlan(
  mapping: ExpertMapping,
  recording: LoadRecording,
  output: PlannedOutput | undefined,
  numRanks: number,
  firstLayer: number | undefined,
): Promise<WrittenPlacement | undefined> {
  if (output === undefined) return undefined;
  const written = await placementFile(mapping, output.format, recording, { numRanks, firstLayer });
  await writeOutput(output.file, written.bytes);
  return { ...written, notes: [...written.notes, ...nameNotes(output.file.path, output.format)] };
}

function recordingReport(
  path: string,
  recording: LoadRecording,
  steps: KnownRange,
  slots: number,
  startFrom: string | undefined,
): RecordingReport {
  const ofSlots = recording.routes === undefined ? slotColumnNotes(recording, [slots], startFrom) : [];
  const { format, numberType, numLayers, numLogicalExperts, routes, notes } = recording;
  return {
    path,
    format: numberType === undefined ? format : `${format}, ${numberType}`,
    shape: [routes?.numTokens ?? steps.of, numLayers, routes?.topK ?? numLogicalExperts],
    readAs: routes === undefined ? 'loads' : 'routes',
    topK: routes?.topK ?? null,
    notes: [...notes, ...ofSlots, ...partNotes(recording, steps)],
    tokensPerStep: routes?.tokensPerStep ?? null,
    steps,
  };
}

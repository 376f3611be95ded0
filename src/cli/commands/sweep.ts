import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { packageVersion } from '../../core/version.ts';
import { bytes, grouped, percent, seconds } from '../../formats/number-text.ts';
import { type RecordingFacts, type SweepResult, sweepResult } from '../../replay/index.ts';
import { reportOf } from '../../replay/report.ts';
import { outputColors } from '../colors.ts';
import {
  addRulesOption,
  addTopologyOption,
  type Devices,
  devicesOf,
  needsSizes,
  placed,
} from '../device-options.ts';
import { plansForEvenNotes } from '../dispatch-option.ts';
import type { Fact } from '../fact-list.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED } from '../interrupt.ts';
import { jsonPath } from '../json-option.ts';
import { contradiction, listParser, wholeParser } from '../option-values.ts';
import { checkOutputs, writeOutput } from '../output-file.ts';
import { POLICIES_CHOICES } from '../policy-choice.ts';
import { type ReplaySetup, setUp } from '../replay/make-task.ts';
import {
  addRecordingOptions,
  addReplayOptions,
  type CommonReplayOptions,
  checkSurvive,
} from '../replay/options.ts';
import { writeReports } from '../replay/outputs.ts';
import { type GridPoint, gridPoints } from '../replay/sweep-grid.ts';
import { bestReplays, runGrid } from '../replay/sweep-run.ts';
import { fileStamp, SweepState } from '../replay/sweep-state.ts';
import { renderSweep, sweepCsv } from '../replay/sweep-view.ts';
import { tooShortPointNotes } from '../replay/too-short.ts';
import { inputPath, STANDARD } from '../standard-streams.ts';
import { printText } from '../terminal.ts';

interface SweepCommandOptions extends CommonReplayOptions {
  readonly slots?: readonly number[];
  readonly ranks?: readonly number[];
  readonly interval?: readonly number[];
  readonly policy: readonly string[];
  readonly output?: string;
}

/** The interval of a sweep that names no condition. */
const DEFAULT_INTERVALS = [32];

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  const wholes = (option: string) => listParser(option, wholeParser(option, 1));
  needsSizes(addRulesOption(addTopologyOption(addRecordingOptions(command))))
    .requiredOption('--slots <N,...>', 'slots a layer: experts and redundant experts', wholes('--slots'))
    .requiredOption('--ranks <N,...>', 'devices', wholes('--ranks'))
    .option(
      '--interval <N,...>',
      'plan every so many steps; 32 when no condition is given',
      wholes('--interval'),
    )
    .option(
      '--policy <P,...>',
      `static, ${POLICIES_CHOICES}`,
      listParser('--policy', (text) => text),
      ['default'],
    )
    .option('-o, --output <file>', 'write all points as CSV; beside it, what is done is kept to go on from');
  addReplayOptions(command).action(run);
  addHelpTexts(command, {
    examples: [
      [
        'eplb sweep loads.npy --slots 64,80,96 --ranks 8,16 --interval 16,64 --policy static,default,adaptive -o s.csv',
        'the points as CSV; run again after an interruption, it goes on',
      ],
    ],
    exitCodes: [[EXIT_INTERRUPTED, 'interrupted: what there was so far was reported']],
  });
}

async function run(given: string, options: SweepCommandOptions): Promise<void> {
  checkSurvive(options, options.policy, '--policy');
  const path = await inputPath(given);
  const outputs = await checkOutputs(
    { '--output': options.output, '--json': jsonPath(options.json), '--report': options.report },
    [path],
  );
  const setups = new Map<number, Promise<ReplaySetup>>();
  const setupOf = (numRanks: number) => {
    // Only a batch of so many tokens a rank depends on how many ranks there are.
    const key = options.tokensPerRank === undefined ? 0 : numRanks;
    const setup = setups.get(key) ?? setUp(path, options, numRanks);
    setups.set(key, setup);
    return setup;
  };
  const { topology, rules, nodes, groups } = options;
  const devices = await devicesOf({
    ...(topology && { topology }),
    ...(rules && { rules }),
    ...(nodes && { nodes }),
    ...(groups && { groups }),
  });
  const { slots: replicas, ranks } = placed(
    {
      slots: axisOf('--slots', options.slots, devices.slots),
      ranks: axisOf('--ranks', options.ranks, devices.ranks),
    },
    'sweep',
  );
  const setup = await setupOf(ranks[0]!);
  const hasCondition = options.threshold !== undefined || options.drift !== undefined;
  const axes: SweepResult['axes'] = {
    policies: options.policy,
    replicas,
    ranks,
    intervals: options.interval ?? (hasCondition ? [] : DEFAULT_INTERVALS),
  };
  const grid = await gridPoints(setupOf, axes, devices, options);
  const csv = outputs.get('--output');
  const state =
    csv === undefined || csv.path === STANDARD
      ? undefined
      : await SweepState.open(csv, await stateKey(path, setup, grid, devices, options));
  const sweep = await runGrid(setup, grid, state);
  const wantsReplays = outputs.has('--json') || outputs.has('--report');
  const status = sweep.wasInterrupted ? 'partial' : 'complete';
  const result = sweepResult(axes, sweep.points, status, { seconds, bytes, percent }, options.survive);
  const all = factsOfAll(await Promise.all(setups.values()));
  const ofPolicies = options.dispatch === 'nearest' ? plansForEvenNotes(options.policy) : [];
  const facts = { ...all, notes: [...all.notes, ...ofPolicies, ...tooShortPointNotes(sweep.points)] };
  const report = reportOf(facts, [], { sweep: result });
  const told: Fact[] = [];
  if (sweep.numTaken > 0)
    told.push(['gone on', `${grouped(sweep.numTaken)} of ${grouped(grid.length)} were done before`]);
  if (sweep.wasInterrupted) {
    if (csv !== undefined && state !== undefined) told.push(['kept', `${csv.path}.state`]);
    process.exitCode = EXIT_INTERRUPTED;
  } else {
    if (wantsReplays)
      await writeReports(outputs, { ...report, replays: await bestReplays(setup, grid, sweep) });
    if (csv !== undefined) await writeOutput(csv, sweepCsv(result));
    await state?.remove();
    told.push(...[...outputs.values()].map((output): Fact => ['written', output.path]));
  }
  if (outputs.get('--json')?.target === STANDARD) return;
  const colors = outputColors();
  const { name, bytesPerExpert } = setup.cost;
  const cost = `${name}, ${bytes(bytesPerExpert)} an expert`;
  const shown = printableTexts({ recording: facts, sweep: result });
  printText(renderSweep(shown, cost, told, colors));
}

/** The values of an axis: those typed, or that of the topology file, which they may not contradict. */
function axisOf(option: string, typed: readonly number[] | undefined, told: number | undefined) {
  const other = typed?.find((value) => told !== undefined && value !== told);
  if (other !== undefined) throw contradiction(`${option}: ${other}, but --topology has ${told}`);
  return typed ?? (told === undefined ? undefined : [told]);
}

/** What is said of the recording: its steps differ where batches of different numbers of ranks do. */
function factsOfAll(setups: readonly ReplaySetup[]): RecordingFacts {
  const [first, ...others] = setups.map(({ facts }) => facts);
  if (others.length === 0) return first!;
  const notes = [first!, ...others].flatMap((facts) => facts.notes);
  return {
    ...first!,
    notes: [...new Set(notes)],
    steps: { from: first!.steps.from, to: null },
    tokensPerStep: null,
  };
}

/**
 * All that points depend on beside their own axes: the version, the recording, the options, the modules of
 * policies.
 */
async function stateKey(
  path: string,
  setup: ReplaySetup,
  grid: readonly GridPoint[],
  devices: Devices,
  options: SweepCommandOptions,
) {
  const { slots, ranks, interval, policy, output, json, report, topology, ...common } = options;
  const ofFile = topology === undefined ? [] : [devices];
  const modules = new Set(grid.flatMap((point) => ('task' in point ? [point.task.policy] : [])));
  const stamps = await Promise.all(
    [...modules].filter((text) => text.startsWith('file:')).map((text) => fileStamp(fileURLToPath(text))),
  );
  return [packageVersion(), setup.path, await fileStamp(path), common, setup.cost, stamps, ...ofFile];
}

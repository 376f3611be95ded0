import type { Command } from 'commander';
import { printableTexts } from '../../core/printable.ts';
import { openRecording } from '../../formats/open.ts';
import { alignLayers } from '../../formats/placements/align.ts';
import { mappingOf } from '../../formats/placements/mapping.ts';
import { openPlacement } from '../../formats/placements/open.ts';
import type { LoadRecording } from '../../formats/recording.ts';
import { quotePath } from '../../formats/text.ts';
import type { Dispatch } from '../../index.ts';
import { type InspectedPlacement, type InspectOptions, inspect, resized } from '../../replay/index.ts';
import {
  addRulesOption,
  addTopologyOption,
  type DeviceOptions,
  type Devices,
  devicesOf,
} from '../device-options.ts';
import { addDispatchOption, sourceNotes } from '../dispatch-option.ts';
import { sayingErrors } from '../error-message.ts';
import { addHelpTexts } from '../help.ts';
import { EXIT_INTERRUPTED, Interrupt } from '../interrupt.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { contradiction, wholeParser } from '../option-values.ts';
import { checkOutputs } from '../output-file.ts';
import { Progress } from '../progress.ts';
import { chooseSlotCost } from '../replay/cost-choice.ts';
import { renderInspection } from '../replay/inspect-view.ts';
import { lookAt } from '../replay/look-at.ts';
import { addCostOptions, addRecordingOptions, type RecordingOptions } from '../replay/options.ts';
import { type RulesReport, reportRules, withoutTaking } from '../rules-report.ts';
import { inputPath, optionalInputPath } from '../standard-streams.ts';
import { rulesInOptions } from '../topology-options.ts';

interface InspectCommandOptions extends RecordingOptions {
  readonly topology?: string;
  readonly rules?: string;
  readonly ranks?: number;
  readonly nodes?: number;
  readonly placement?: string;
  readonly dispatch?: Dispatch;
  readonly top: number;
  readonly json?: JsonOption;
}

/** Ranks that time is reckoned for when nothing is said. */
const DEFAULT_RANKS = 8;

/** Steps between two turns of the event loop, so that Ctrl-C is heard. */
const STEPS_A_TURN = 64;

/** Gives the subcommand its arguments, options, help and action. */
export function configure(command: Command): void {
  addRulesOption(addTopologyOption(addJsonOption(addRecordingOptions(command))))
    .option(
      '--ranks <N>',
      'devices that noise and time are reckoned for; 8 when left out',
      wholeParser('--ranks', 1),
    )
    .option(
      '--placement <file>',
      'a placement of any format: how it balances the loads, and which links tokens take',
    )
    .option('--nodes <N>', 'sets of ranks joined by the fast network', wholeParser('--nodes', 1))
    .option('--top <N>', 'how many of the hottest experts are named', wholeParser('--top', 0), 9)
    .action(run);
  addDispatchOption(addCostOptions(command, ''));
  addHelpTexts(command, {
    examples: [
      ['eplb inspect loads.npy --ranks 16', 'skew, drift and noise'],
      ['eplb inspect routes.npy --experts 64 --json facts.json', 'of routes, all figures in a file'],
      [
        'eplb inspect loads.npy --placement placement.json --ranks 16 --nodes 2 --dispatch nearest',
        'the links between ranks, where tokens take the nearest copy',
      ],
    ],
    exitCodes: [[EXIT_INTERRUPTED, 'interrupted: what there was so far was reported']],
  });
}

async function run(given: string, options: InspectCommandOptions): Promise<void> {
  const path = await inputPath(given);
  const placementPath = await optionalInputPath(options.placement);
  if (options.rules !== undefined && placementPath === undefined)
    throw contradiction('--rules: says of a placement what it breaks: give --placement FILE');
  const inputs = placementPath === undefined ? [path] : [path, placementPath];
  const outputs = await checkOutputs({ '--json': jsonPath(options.json) }, inputs);
  const devices = await devicesOf(deviceOptionsOf(options));
  const numRanks = liveRanks(devices);
  const setup = await lookAt(path, options, numRanks ?? DEFAULT_RANKS);
  const { cost, notes: assumed } = await chooseSlotCost(options, setup.facts);
  const progress = new Progress(process.stderr);
  const { numSteps: total, numBytes } = setup.size;
  progress.begin('reading', total ?? Math.ceil(numBytes / 1000), total === undefined ? 'kB' : 'steps');
  const interrupt = new Interrupt();
  const recording = await openRecording(path, setup.open);
  const { inspected: placement, rules } = await placementOf(
    ...([placementPath, devices, options, recording] as const),
  ).catch(async (error: unknown) => {
    progress.stop();
    interrupt.release();
    await recording.close();
    throw error;
  });
  const inspectOptions: InspectOptions = {
    numHottest: options.top,
    steps: setup.range,
    cost,
    ...(recording.routes === undefined ? {} : { topK: recording.routes.topK }),
    ...(numRanks === undefined ? {} : { numRanks }),
    ...(placement === undefined ? {} : { placement }),
    onStep: ({ numSteps, bytesRead }) => {
      progress.update(total === undefined ? Math.floor(bytesRead / 1000) : numSteps);
      return !interrupt.wasAsked;
    },
  };
  const { times } = setup.batch;
  const sized = times === 1 ? recording : resized(recording, times);
  const source = { ...sized, steps: (range?: object) => withTurns(sized.steps(range)) };
  const result = await inspect(source, inspectOptions).finally(async () => {
    progress.stop();
    interrupt.release();
    await recording.close();
  });
  // Some is known only when all was read.
  const ofSources = placement
    ? sourceNotes(recording.numSourceRanks, placement.numRanks, options.dispatch)
    : [];
  const notes = [...new Set([...setup.facts.notes, ...assumed, ...recording.notes, ...ofSources])];
  const read = { ...setup.facts, notes };
  const isInterrupted = interrupt.wasAsked;
  const status = isInterrupted ? 'partial' : 'complete';
  const written = [...outputs.values()].map((output) => output.path);
  const report = {
    kind: 'inspect-report',
    formatVersion: 1,
    recording: read,
    status,
    ...result,
    ...(rules && { rules }),
  };
  await writeResult(outputs.get('--json'), report, (colors) =>
    renderInspection(printableTexts(read), result, { isPartial: isInterrupted, written, rules }, colors),
  );
  if (isInterrupted) process.exitCode = EXIT_INTERRUPTED;
}

function deviceOptionsOf({ topology, rules, ranks, nodes }: InspectCommandOptions): DeviceOptions {
  return {
    ...(topology && { topology }),
    ...(rules && { rules }),
    ...(ranks && { ranks }),
    ...(nodes && { nodes }),
  };
}

/** Devices that live, where options or a topology file say how many there are. */
function liveRanks({ ranks, rankOptions: { deadRanks = [] } }: Devices): number | undefined {
  return ranks === undefined ? undefined : ranks - deadRanks.length;
}

/** The placement, and the devices that it is on, where options say anything of them but how many. */
async function placementOf(
  path: string | undefined,
  { ranks, nodes, slots, rankOptions }: Devices,
  { topology, dispatch }: InspectCommandOptions,
  recording: LoadRecording,
): Promise<{ readonly inspected?: InspectedPlacement; readonly rules?: RulesReport }> {
  const isAsked = [path, nodes, dispatch, topology].some((option) => option !== undefined);
  if (!isAsked) return {};
  const devices = {
    ...(nodes !== undefined && { numNodes: nodes }),
    ...(slots !== undefined && { numPhysicalExperts: slots }),
    ...(dispatch !== undefined && { dispatch }),
    // A placement has as many slots as it has, whatever a shared expert takes.
    ...withoutTaking(rankOptions),
  };
  if (path === undefined) return { inspected: { ...devices, numRanks: ranks ?? DEFAULT_RANKS } };
  const name = `--placement: ${quotePath(path)}`;
  const { numLogicalExperts } = recording;
  const read = await openPlacement(path, { field: '--placement', numExperts: numLogicalExperts });
  const placement = alignLayers(read, recording, name);
  const numRanks = ranks ?? placement.numRanks ?? DEFAULT_RANKS;
  if (placement.numRanks !== undefined && placement.numRanks !== numRanks)
    throw contradiction(`--ranks: ${numRanks}, but ${name} has ${placement.numRanks}`);
  const say = (message: string) => (message.startsWith(name) ? message : `${name}: ${message}`);
  const mapping = sayingErrors(say, () => mappingOf(placement));
  const { slotsPerRank: _, ...others } = devices;
  const beside = { ranks: numRanks, rankOptions: withoutTaking(rankOptions) };
  const rules = sayingErrors(rulesInOptions, () => reportRules(placement, beside));
  return { inspected: { ...others, mapping, numRanks }, ...(rules && { rules }) };
}

/** The same steps, with a turn of the event loop now and then. */
async function* withTurns<T>(steps: AsyncIterable<T>): AsyncGenerator<T> {
  let count = 0;
  for await (const step of steps) {
    if (++count % STEPS_A_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    yield step;
  }
}

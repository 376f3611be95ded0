import { type Command, Option } from 'commander';
import { nearest } from '../../core/known-keys.ts';
import { quote } from '../../formats/text.ts';
import { costPresetNames, type Dispatch, EplbError } from '../../index.ts';
import type { TriggerOptions } from '../../replay/index.ts';
import { addDeviceOptions, addNodeOptions, type DeviceOptions } from '../device-options.ts';
import { addDispatchOption } from '../dispatch-option.ts';
import { addJsonOption, type JsonOption } from '../json-option.ts';
import { RECORDING_HELP } from '../option-help.ts';
import { contradiction, numberParser, wholeParser } from '../option-values.ts';
import { addReadingOptions, type ReadingOptions } from '../reading-options.ts';
import { addEventOptions, type EventOptions } from './event-options.ts';

/** How a recording is read, and what its steps cost. */
export interface RecordingOptions extends ReadingOptions {
  readonly tokensPerRank?: number;
  readonly topK?: number;
  readonly device?: string;
  readonly model?: string;
  readonly cost?: string;
}

/** Seconds of a plan, or where they come from. */
type PlanningTime = number | 'fixed' | 'measured';

/** What all replays of a command have in common. */
export interface CommonReplayOptions
  extends RecordingOptions,
    Pick<DeviceOptions, 'topology' | 'rules' | 'nodes' | 'groups'> {
  readonly window?: number;
  readonly threshold?: number;
  readonly drift?: number;
  readonly requireAll?: boolean;
  readonly checkEvery?: number;
  readonly planningTime?: PlanningTime;
  readonly planningSeconds?: PlanningTime;
  readonly layersPerStep: number;
  readonly dispatch?: Dispatch;
  readonly json?: JsonOption;
  readonly report?: string;
  readonly survive?: string;
}

/** The placement that a command replays on, and when plans are made: where it is one, not a grid of them. */
export interface OnePlacementOptions extends DeviceOptions, EventOptions {
  readonly interval?: number;
  readonly startFrom?: string;
}

/** Options that say how the recording is to be read. */
export function addRecordingOptions(command: Command): Command {
  return addReadingOptions(command)
    .argument('<recording>', RECORDING_HELP)
    .option(
      '--tokens-per-rank <N>',
      'tokens that begin on a rank in a step: routes are cut anew, counts thinned by a seeded draw, or enlarged ' +
        'with a note; as recorded when left out',
      wholeParser('--tokens-per-rank', 1),
    )
    .option(
      '--top-k <K>',
      'experts of a token, where loads are recorded; those of --model when left out',
      wholeParser('--top-k', 1),
    );
}

/** Options that say what a device takes. */
export function addCostOptions(command: Command, others: string): Command {
  const { devices, models } = costPresetNames();
  return command
    .option('--device <D>', `${devices.join(', ')}; h200 when left out`, oneOf('--device', devices))
    .option(
      '--model <M>',
      `${models.join(', ')}; that with as many layers and experts, or else deepseek-v3, when left out`,
      oneOf('--model', models),
    )
    .option(
      '--cost <C>',
      `in place of both: DEVICE:MODEL[:PRECISION] such as h200:deepseek-v3:bf16, ${others}or a .json file`,
    );
}

function oneOf(option: string, names: readonly string[]): (text: string) => string {
  return (text) => {
    const name = text.toLowerCase();
    if (names.includes(name)) return name;
    const near = nearest(name, names);
    const hint = near === undefined ? `there are ${names.join(', ')}` : `did you mean ${near}?`;
    throw new EplbError('EPLB_OPTION', `${option}: ${quote(text)} is not known; ${hint}`);
  };
}

/** Options of {@link OnePlacementOptions}. */
export function addOnePlacementOptions(command: Command): Command {
  return addEventOptions(addDeviceOptions(command))
    .option(
      '--interval <N>',
      'plan every so many steps; 32 when no condition is given',
      wholeParser('--interval', 1),
    )
    .option('--start-from <file>', 'the placement to begin with, of any format');
}

/** Options that replay, compare and sweep share. */
export function addReplayOptions(command: Command): Command {
  addDispatchOption(addNodeOptions(addCostOptions(command, 'competition, ')))
    .option(
      '--window <N>',
      'steps that plans look back on; the interval, at most 1024, when left out',
      wholeParser('--window', 1),
    )
    .option(
      '--threshold <X>',
      'plan when a layer has largest / smallest rank load over the window above X',
      numberParser('--threshold', 1),
    )
    .option(
      '--drift <X>',
      'plan when the loads have drifted more than X, 0 to 1, from those last planned for',
      numberParser('--drift', 0, 1),
    )
    .option('--require-all', 'plan when all of --interval, --threshold and --drift hold, not any of them')
    .option(
      '--check-every <N>',
      'look at --threshold and --drift every so many steps',
      wholeParser('--check-every', 1),
    )
    .option(
      '--planning-time <T>',
      'what a plan is taken to need: milliseconds; measured, here; or fixed, a figure for its policy and sizes, ' +
        'when left out',
      planningTime('--planning-time', 1000),
    )
    .addOption(
      new Option('--planning-seconds <S>', 'the same in seconds')
        .argParser(planningTime('--planning-seconds', 1))
        .conflicts('planningTime')
        .hideHelp(),
    )
    .option(
      '--layers-per-step <N>',
      'layers that change to a new mapping in a step',
      wholeParser('--layers-per-step', 1),
      1,
    )
    .option(
      '--survive <level>',
      'as much load as can be survives the failure of a rank, or of a node, by plans of the adaptive policy',
    )
    .option('--report <file>', 'write the charts as one HTML file; - is standard output');
  return addJsonOption(command);
}

/** Makes the parser of a planning time; numbers are in units of which a second has `perSecond`. */
function planningTime(option: string, perSecond: number): (text: string) => PlanningTime {
  return (text) => {
    if (text === 'fixed' || text === 'measured') return text;
    return numberParser(option, 0, Number.MAX_VALUE, ', fixed or measured')(text) / perSecond;
  };
}

/** The trigger that the options describe, or undefined when they name no condition. */
export function triggerOf(
  options: CommonReplayOptions,
  interval: number | undefined,
): TriggerOptions | undefined {
  const { threshold, drift, requireAll, checkEvery } = options;
  const conditions = [interval, threshold, drift].filter((condition) => condition !== undefined).length;
  if (requireAll === true && conditions < 2) {
    throw contradiction('--require-all: needs two or more of --interval, --threshold and --drift');
  }
  if (checkEvery !== undefined && threshold === undefined && drift === undefined) {
    throw contradiction('--check-every: there is neither --threshold nor --drift to look at');
  }
  if (conditions === 0) return undefined;
  return {
    ...(interval === undefined ? {} : { interval }),
    ...(threshold === undefined ? {} : { loadThreshold: threshold }),
    ...(drift === undefined ? {} : { drift }),
    ...(requireAll === true ? { require: 'all' as const } : {}),
    ...(checkEvery === undefined ? {} : { checkEvery }),
  };
}

/**
 * Refuses a level of failures where no policy can plan for it.
 *
 * @param option what names the policies
 */
export function checkSurvive({ survive }: CommonReplayOptions, policies: readonly string[], option: string) {
  if (survive === undefined || policies.includes(SURVIVING)) return;
  throw contradiction(`--survive: only the adaptive policy can do that; give ${option} ${SURVIVING}`);
}

/** The policy that can plan for failures to come. */
export const SURVIVING = 'adaptive';

/** Refuses options that a placement which is never planned anew has no use for. */
export function checkStatic(options: CommonReplayOptions & { readonly interval?: number }): void {
  const useless = {
    '--interval': options.interval,
    '--threshold': options.threshold,
    '--drift': options.drift,
    '--window': options.window,
    '--planning-time': options.planningTime,
    '--planning-seconds': options.planningSeconds,
  };
  const given = Object.entries(useless).find(([, value]) => value !== undefined);
  if (given !== undefined) throw contradiction(`${given[0]}: --policy static never plans`);
}

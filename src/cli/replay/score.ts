import { counted, times } from '../../formats/number-text.ts';
import {
  COMPETITION,
  COMPETITION_INTERVAL,
  type ReplayReport,
  type ReplayResult,
} from '../../replay/index.ts';
import { triggerText } from '../../replay/trigger-text.ts';
import type { PlacedDevices } from '../device-options.ts';
import type { Fact } from '../fact-list.ts';
import { type ReplaySetup, taskOf } from './make-task.ts';
import type { CommonReplayOptions } from './options.ts';
import type { ReplayTask } from './task.ts';

/** What scores are against. */
const REFERENCE = `default, planned anew every ${counted(COMPETITION_INTERVAL, 'step')}`;

/** Whether replays are scored: with the public competition's cost model only. */
function isScored(setup: ReplaySetup): boolean {
  return setup.cost === COMPETITION;
}

/**
 * The replay that scores are against, where one is needed and none of the tasks is it: the default policy
 * planned anew every 1,024 steps on the sizes of the first task.
 */
export async function referenceTask(
  setup: ReplaySetup,
  tasks: readonly ReplayTask[],
  devices: PlacedDevices,
  options: CommonReplayOptions,
): Promise<ReplayTask[]> {
  if (!isScored(setup) || tasks.some(isReference)) return [];
  const { threshold, drift, requireAll, checkEvery, window, ...rest } = options;
  const variant = { policy: 'default', devices, interval: COMPETITION_INTERVAL, name: REFERENCE };
  return [{ ...(await taskOf(setup, variant, rest)), start: tasks[0]!.start }];
}

/** 100 x the reference's modelled seconds / those of each result. */
export function scoresOf(
  setup: ReplaySetup,
  results: readonly ReplayResult[],
  reference: ReplayResult | undefined,
): ReplayReport['scores'] {
  if (!isScored(setup)) return undefined;
  const against = reference ?? results.find(({ configuration }) => isReferenceTrigger(configuration));
  if (against === undefined) return undefined;
  const values = results.map(({ totals }) => 100 * (against.totals.modelledSeconds / totals.modelledSeconds));
  return { reference: REFERENCE, values };
}

/** The score of one replay, or what the scores of several are against. */
export function yardstickFacts({ scores, replays }: ReplayReport): Fact[] {
  if (scores === undefined) return [];
  const parts = [`100 is ${scores.reference}`];
  const most = Math.max(...replays.map(({ numSteps }) => numSteps));
  if (most <= COMPETITION_INTERVAL) {
    parts.push(
      `of ${counted(most, 'step')} it plans nothing that could take effect, and is the first placement`,
    );
  }
  const row = replays.find(({ configuration }) => configuration.policy === 'default');
  if (row !== undefined && !isReferenceTrigger(row.configuration)) {
    parts.push(
      `the row ${row.name} plans otherwise (${triggerText(row.configuration.trigger)}), so it is not that`,
    );
  }
  const score = replays.length === 1 ? `${times(scores.values[0]!)}; ` : '';
  return [['score', `${score}${parts.join('; ')}`]];
}

function isReference({ policy, options }: ReplayTask): boolean {
  return isReferenceTrigger({
    policy,
    windowSize: options.windowSize ?? options.trigger?.interval,
    trigger: options.trigger,
  });
}

function isReferenceTrigger(configuration: {
  readonly policy: string;
  readonly windowSize: number | undefined;
  readonly trigger: ReplayResult['configuration']['trigger'] | undefined;
}): boolean {
  const { policy, windowSize, trigger } = configuration;
  return (
    policy === 'default' &&
    windowSize === COMPETITION_INTERVAL &&
    trigger?.interval === COMPETITION_INTERVAL &&
    trigger.loadThreshold === undefined &&
    trigger.drift === undefined
  );
}

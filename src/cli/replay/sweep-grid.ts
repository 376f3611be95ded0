import { EplbRangeError, isOwnError } from '../../core/errors.ts';
import { counted } from '../../formats/number-text.ts';
import type { BatchText, SweepPointFailed, SweepPointKey, SweepResult } from '../../replay/index.ts';
import type { Devices } from '../device-options.ts';
import { type ReplaySetup, taskOf } from './make-task.ts';
import { type CommonReplayOptions, SURVIVING } from './options.ts';
import type { ReplayTask } from './task.ts';

/** A point of the grid: with the task that replays it, or why there is none. */
export type GridPoint =
  | { readonly key: SweepPointKey; readonly task: ReplayTask; readonly batch: BatchText }
  | { readonly key: SweepPointKey; readonly failed: SweepPointFailed };

/**
 * All points, in the order of the axes, policies last. Sizes that do not fit each other make a failed point,
 * not an error: a grid of replicas and ranks has such corners. The static placement has no interval.
 *
 * @param setupOf - the recording, whose steps may be of so many tokens a rank
 * @throws EplbError and its subclasses for what is wrong with every point
 */
export async function gridPoints(
  setupOf: (numRanks: number) => Promise<ReplaySetup>,
  axes: SweepResult['axes'],
  devices: Devices,
  options: CommonReplayOptions,
): Promise<GridPoint[]> {
  const points: GridPoint[] = [];
  const intervals = axes.intervals.length === 0 ? [null] : axes.intervals;
  for (const numPhysicalExperts of axes.replicas) {
    for (const numRanks of axes.ranks) {
      for (const [at, interval] of intervals.entries()) {
        for (const policy of axes.policies) {
          if (policy === 'static' && at > 0) continue;
          const own = policy === 'static' ? null : interval;
          points.push(
            await gridPoint(
              await setupOf(numRanks),
              { policy, numPhysicalExperts, numRanks, interval: own },
              devices,
              options,
            ),
          );
        }
      }
    }
  }
  if (points.some((point) => 'task' in point)) return points;
  const first = points.find((point) => 'failed' in point);
  throw new EplbRangeError('EPLB_TOPOLOGY', first?.failed.message ?? 'no configuration to replay');
}

async function gridPoint(
  setup: ReplaySetup,
  sizes: Omit<SweepPointKey, 'name'>,
  devices: Devices,
  options: CommonReplayOptions,
): Promise<GridPoint> {
  const { policy, numPhysicalExperts, numRanks, interval } = sizes;
  const every = interval === null ? '' : `, every ${counted(interval, 'step')}`;
  const name = `${policy}, ${counted(numPhysicalExperts, 'slot')}, ${counted(numRanks, 'rank')}${every}`;
  const key = { name, ...sizes };
  try {
    const variant = {
      policy,
      devices: {
        ...devices,
        slots: numPhysicalExperts,
        ranks: numRanks,
        nodes: devices.nodes ?? 1,
        groups: devices.groups ?? 1,
      },
      interval: interval ?? undefined,
      survive: policy === SURVIVING ? options.survive : undefined,
      name,
    };
    return { key, task: await taskOf(setup, variant, options), batch: setup.batch };
  } catch (error) {
    if (!isOwnError(error) || error.code !== 'EPLB_TOPOLOGY') throw error;
    return { key, failed: { ...key, status: 'failed', code: error.code, message: error.message } };
  }
}

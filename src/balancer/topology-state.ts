import { describeTopology } from '../core/topology.ts';
import type { JobLayout } from '../engine/layout.ts';
import { contentOfExperts } from '../loads/fold-content.ts';
import { LoadWindow } from '../loads/load-window.ts';
import { refill } from '../loads/refill-window.ts';
import { makeSampleMemory } from '../loads/sample-memory.ts';
import { type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { initialMapping } from '../mapping/initial-mapping.ts';
import { leaseKernelMemory } from '../memory/kernel-memory.ts';
import type { KernelRegion } from '../memory/memory-arena.ts';
import { GainMeter } from './gain-meter.ts';
import { GainRecord } from './gain-record.ts';
import { carveBalancer } from './memory-map.ts';
import type { BalancerSettings } from './options.ts';

/** All of a balancer that has the sizes of its topology. */
export interface TopologyState {
  readonly settings: BalancerSettings;
  /** The mapping that was live when it was made. */
  readonly first: ExpertMapping;
  readonly region: KernelRegion;
  readonly job: JobLayout;
  readonly window: LoadWindow;
  readonly gains: GainRecord;
}

/**
 * Carves all memory that a balancer uses.
 *
 * @param live the mapping that is live then; the initial one when left out
 * @throws EplbRangeError `EPLB_MEMORY`
 */
export function makeState(settings: BalancerSettings, live?: ExpertMapping): TopologyState {
  const { topology, windowSize, policy } = settings;
  const what = `${describeTopology(topology)} with a window of ${windowSize}`;
  const { region, layout } = leaseKernelMemory(what, (start) => carveBalancer(settings, start));
  const samples = layout.samples && makeSampleMemory(topology, region, layout.samples);
  // Only now: of sizes that are too large together the message is of the whole.
  const first = live ?? initialMapping(topology);
  const scale = policy instanceof URL ? undefined : policy.gainScale?.(topology);
  const dispatch = policy instanceof URL ? undefined : policy.tokenDispatch;
  return {
    settings,
    first,
    region,
    job: layout.job,
    window: new LoadWindow(topology, windowSize, region, layout.window, first, samples),
    gains: new GainRecord(
      windowSize,
      new GainMeter(topology, scale, { region, layout: layout.gains }, dispatch),
    ),
  };
}

/**
 * What a balancer has for another topology: in other memory, with the loads that it had, by experts.
 *
 * @param live the mapping that is live, and `next` what becomes of it
 */
export function movedState(
  state: TopologyState,
  settings: BalancerSettings,
  live: ExpertMapping,
  next: ExpertMapping,
): TopologyState {
  const moved = makeState(settings, next);
  const { window } = state;
  const [before, after] = [tablesOf(live).phyToLog, tablesOf(next).phyToLog];
  const content = contentOfExperts(window.content(), state.settings.topology, before, after);
  refill(moved.window, settings.topology, content, next);
  const samples = window.sampleMemory?.content();
  if (samples !== undefined) moved.window.sampleMemory?.refill(samples);
  moved.gains.refill(state.gains.ended(), next);
  return moved;
}

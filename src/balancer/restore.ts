import { EplbError } from '../core/errors.ts';
import { refill } from '../loads/refill-window.ts';
import { checkShape } from '../mapping/check-shape.ts';
import { ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { checkClosedSlots } from '../policy/closed-slots.ts';
import { keepMemory, memoryOf } from '../policy/history.ts';
import type { LiveState } from './live-state.ts';
import { decodeSnapshot, encodeSnapshot, type SnapshotSizes } from './snapshot.ts';

/** As `ExpertLoadBalancer.snapshot`. */
export function takeSnapshot(live: LiveState): Uint8Array {
  const { mapping, mappings, numSteps, gains, window } = live;
  return encodeSnapshot(sizesOf(live), {
    phyToLog: tablesOf(mapping).phyToLog,
    logToPhy: mapping.logToPhy,
    isFirst: mappings.isFirst(mapping),
    isPlanned: mappings.isPlanned,
    numSteps,
    since: mappings.since,
    memory: memoryOf(mapping) ?? new Uint8Array(),
    gains: gains.content(),
    window: window.content(),
    samples: window.sampleMemory?.content(),
  });
}

/** As `ExpertLoadBalancer.restore`. */
export function restoreSnapshot(live: LiveState, snapshot: Uint8Array): void {
  const { topology, window, mappings } = live;
  const { numLayers, numLogicalExperts } = topology;
  const content = decodeSnapshot(snapshot, sizesOf(live));
  const isNew = live.numSteps === 0 && live.generation === 0 && window.content().rows.length === 0;
  if (!isNew) {
    const message = 'the balancer has recorded steps or committed mappings of its own: restore a new one';
    throw new EplbError('EPLB_STALE', message);
  }
  const { isFirst, isPlanned, phyToLog, logToPhy, since, memory, samples } = content;
  const mapping = isFirst
    ? live.mapping
    : new ExpertMapping({ phyToLog, logToPhy, numLayers, numLogicalExperts });
  checkShape('snapshot', mapping, topology);
  checkClosedSlots('snapshot', tablesOf(mapping).phyToLog, topology);
  refill(window, topology, content.window, mapping);
  if (samples !== undefined) window.sampleMemory?.refill(samples);
  live.numSteps = content.numSteps;
  if (memory.length > 0) keepMemory(mapping, memory);
  mappings.resume(mapping, isPlanned, since);
  live.gains.refill(content.gains, mapping);
  if (!isFirst) live.publish();
}

function sizesOf({ topology, window, made }: LiveState): SnapshotSizes {
  return { topology, windowSize: made.settings.windowSize, samples: window.sampleMemory?.sizes };
}

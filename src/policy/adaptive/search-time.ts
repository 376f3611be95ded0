import type { Topology } from '../../core/topology.ts';
import type { WorkOfJob } from '../../engine/layer-kernel.ts';
import { hasFewSlots, numKicksOf } from './extent.ts';
import { numLinkNodes } from './link-sizes.ts';
import type { AdaptiveEffort, AdaptiveRequest } from './request.ts';

/** What a layer takes in shares of the usual: 'thorough' goes on until no rank has a step left. */
const SHARES: Readonly<Record<AdaptiveEffort, number>> = { quick: 0.5, usual: 1, thorough: 8 };
/** Kicks that take as long as the search before them. */
const KICKS_PER_SEARCH = 4;
/** All pairs of few slots, after a kick, for each step that is taken: about one a slot. */
const NANOSECONDS_PER_PAIR = 100;

/** What links make of it. */
const LINKED = 3;

/** Whether any experts can belong together; where nothing is known of the job, they may. */
function hasPairs(request: AdaptiveRequest, topology: Topology, job: WorkOfJob | undefined): boolean {
  const mayBeGiven = job === undefined || job.coactivation !== undefined;
  return numLinkNodes(request, topology) > 0 && (topology.numGroups > 1 || mayBeGiven);
}

/**
 * About how long a layer takes. Each rank is visited some times, and a visit looks at exchanges of its slots
 * with those of other ranks, each over the samples. Measured with 32 to 2,048 slots on 2 to 256 ranks, and 1
 * to 64 samples: 0.15 to 1.2 times as long for loads that keep their places, and 1.5 to 3 times for bursts
 * and a live placement that is far from a good one. Of 16 slots and fewer all pairs are looked at, after
 * every kick: measured with 8 and 16 slots, 0.3 to 1.9 times as long.
 */
export function nanosecondsPerLayer(request: AdaptiveRequest, topology: Topology, job?: WorkOfJob): number {
  const { numPhysicalExperts, numRanks } = topology;
  const numSamples = job?.loads.from === 'samples' ? job.loads.numSamples : request.maxSamples;
  const perSlot = 2000 + 100 * numSamples + 100 * numRanks * (1 + numSamples / 64);
  const linked = hasPairs(request, topology, job) ? LINKED : 1;
  const numKicks = numKicksOf(request, topology);
  if (hasFewSlots(topology)) return numKicks * NANOSECONDS_PER_PAIR * numPhysicalExperts ** 3;
  return linked * SHARES[request.effort] * numPhysicalExperts * perSlot * (1 + numKicks / KICKS_PER_SEARCH);
}

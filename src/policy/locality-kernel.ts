import { EplbRangeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { BoundKernel, LayerKernel, ThreadJob, WorkOfJob } from '../engine/layer-kernel.ts';
import { checkLength, readLoads } from '../engine/layer-loads.ts';
import { JobWord } from '../engine/layout.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import type { KernelSizes, Pointer } from '../memory/kernel-exports.ts';
import { checkAllAlike, checkSizes } from './closed-slots.ts';
import { placingNanoseconds } from './default-kernel.ts';
import { preserveScratchBytes, preserveSlots } from './preserve-slots.ts';

/** What the locality policy asks of the engine. */
export interface LocalityRequest extends KernelRequest {
  readonly kernel: 'locality';
  readonly tolerance: number;
  /** 0: as many as suit the number of experts. */
  readonly maxEvaluations: number;
}

/** Measured at these sizes, in a core's time on a busy machine: 0.5 to 24 s. */
const MOST_SIZES = { slots: 2 ** 17, experts: 2 ** 13 };

/** Searches two layers a claim. */
const LOCALITY_KERNEL: LayerKernel<LocalityRequest> = {
  id: 'locality',
  layersPerClaim: 2,
  evenFor: 'the locality policy deals them evenly',
  checkTopology(_, topology, title) {
    checkSizes('locality', topology, MOST_SIZES);
    checkAllAlike('locality', topology, title);
  },
  scratchBytes: (_, topology, sizes) =>
    Math.max(
      coactivationBytes(topology) + searchBytes(topology, sizes),
      preserveScratchBytes(topology, sizes),
    ),
  dataBytes: () => 0,
  nanosecondsPerLayer: (request, topology, job) =>
    placingNanoseconds(topology) + (isSearched(topology, job) ? searchNanoseconds(request, topology) : 0),
  bind,
};

/** A function, as an import of the library leaves this module out. */
export const localityKernel = (): LayerKernel<LocalityRequest> => LOCALITY_KERNEL;

/** Of kernels/locality/place.ts: on more nodes nothing is searched; exchanges looked at for an expert. */
const MOST_NODES = 64;
const EVALUATIONS_PER_EXPERT = 4000;

/** Whether any experts can belong together; where nothing is known of the job, they may. */
function isSearched({ numNodes, numGroups }: Topology, job: WorkOfJob | undefined): boolean {
  const hasGroups = numGroups > 1 && numGroups % numNodes === 0;
  const hasPairs = job === undefined || job.coactivation !== undefined;
  return numNodes > 1 && numNodes <= MOST_NODES && (hasGroups || hasPairs);
}

/**
 * About how long the search takes: an exchange looked at takes longer where there are more slots. Measured
 * with 16 to 2,048 slots on 2 and 4 nodes: 0.3 to 1.6 times as long, and less where nothing is found early.
 */
function searchNanoseconds({ maxEvaluations }: LocalityRequest, topology: Topology): number {
  const { numLogicalExperts, numPhysicalExperts } = topology;
  const evaluations = maxEvaluations > 0 ? maxEvaluations : EVALUATIONS_PER_EXPERT * numLogicalExperts;
  return evaluations * (15 + numPhysicalExperts / 22);
}

/** A layer's co-activation: f32[logical x logical]. */
function coactivationBytes({ numLogicalExperts }: Topology): number {
  return 4 * numLogicalExperts ** 2;
}

function searchBytes(topology: Topology, sizes: KernelSizes): number {
  const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  return sizes.placeLocalityScratchBytes(
    numLogicalExperts,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
  );
}

function bind(job: ThreadJob<LocalityRequest>): BoundKernel {
  return {
    plan(first, count) {
      for (let i = 0; i < count; i++) place(job, first + i, i);
      for (let i = 0; i < count; i++) preserveSlots(job, first + i, i);
    },
  };
}

function place(job: ThreadJob<LocalityRequest>, layer: number, i: number): void {
  const { kernels, layout, request, scratch } = job;
  const { numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = layout.topology;
  const rowBytes = 4 * numPhysicalExperts;
  const loads = readLoads(job, layer);
  kernels.placeLocality(
    loads,
    readCoactivation(job, layer),
    numLogicalExperts,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
    request.tolerance,
    request.maxEvaluations,
    layout.words + 4 * JobWord.CANCELLED,
    job.slots + i * rowBytes,
    job.ranks + i * rowBytes,
    scratch + coactivationBytes(layout.topology),
  );
}

/** Copies the layer's co-activation to scratch, and checks it there: 0, no pointer, when there is none. */
function readCoactivation({ kernels, buffer, layout, job, scratch }: ThreadJob, layer: number): Pointer {
  const { coactivation } = job;
  if (coactivation === undefined) return 0;
  const { numLayers, numLogicalExperts: n } = layout.topology;
  checkLength('coactivation.data', coactivation, numLayers * n * n);
  const values = new Float32Array(buffer, scratch, n * n);
  values.set(coactivation.subarray(layer * n * n, (layer + 1) * n * n));
  // The diagonal may hold anything.
  for (let expert = 0; expert < n; expert++) values[expert * (n + 1)] = 0;
  const bad = kernels.firstInvalid(scratch, n * n);
  if (bad === n * n) return scratch;
  const where = `coactivation: layer ${layer}, experts ${Math.floor(bad / n)} and ${bad % n}`;
  throw new EplbRangeError('EPLB_RANGE', `${where}: ${values[bad]} is not a finite number >= 0`);
}

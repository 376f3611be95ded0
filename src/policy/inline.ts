import { checkTopology } from '../core/check-topology.ts';
import { describeTopology, rankOptionsOf, type Topology } from '../core/topology.ts';
import { jobNeeds } from '../engine/job-needs.ts';
import { carveJob, type JobLayout, jobWords, resetWords } from '../engine/layout.ts';
import { takeExtras } from '../engine/plan-extras.ts';
import type { KernelRequest, PlanJob } from '../engine/plan-job.ts';
import { planLayers } from '../engine/plan-layers.ts';
import { makeTables, type PlanTables } from '../engine/plan-tables.ts';
import { type CoactivationMatrix, checkCoactivation } from '../loads/coactivation.ts';
import { type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { checkShape } from '../mapping/check-shape.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import { inlineKernelMemory, kernelSizes } from '../memory/kernel-memory.ts';
import { checkContext, type PolicyContext } from './abstract.ts';
import { type MappingHistory, writeMemory } from './history.ts';
import { plannedMapping, writePrevious } from './job-tables.ts';
import { kernelOf } from './kernels.ts';

/** Runs a policy's kernel on all layers in the calling thread. Arguments and errors as `rebalanceExperts`. */
export function planInline(
  request: KernelRequest,
  weight: LoadsInput,
  numReplicas: number,
  numGroups: number,
  numNodes: number,
  numRanks: number,
  context: PolicyContext = {},
): ExpertMapping {
  const { data, numLayers, numExperts } = toLoadMatrix('weight', weight);
  const topology = argumentTopology(
    numLayers,
    numExperts,
    numReplicas,
    numGroups,
    numNodes,
    numRanks,
    checkContext(context),
    kernelOf(request).evenFor,
  );
  const loads = () => ({ from: 'matrix', data }) as const;
  return plannedMapping(topology, runInline(request, topology, loads, context));
}

/** What a kernel that runs inline may know beyond the loads; each is read once. */
interface InlineContext {
  readonly previous?: ExpertMapping | undefined;
  readonly coactivation?: CoactivationMatrix | undefined;
  readonly history?: MappingHistory | undefined;
}

/**
 * Runs a kernel on all layers in the calling thread.
 *
 * @param loads brings the loads to where the job reads them, in this memory and layout, and says where that
 * is
 */
export function runInline(
  request: KernelRequest,
  topology: Topology,
  loads: (buffer: ArrayBufferLike, layout: JobLayout) => PlanJob['loads'],
  { previous, coactivation, history }: InlineContext,
): PlanTables {
  const kernel = kernelOf(request);
  kernel.checkTopology(request, topology, 'slotsPerRank');
  if (previous !== undefined) checkShape('previous', previous, topology);
  const pairs = coactivation === undefined ? undefined : checkCoactivation(coactivation, topology).data;
  const needs = jobNeeds(topology, request, kernel, kernelSizes());
  const { region, layout } = inlineKernelMemory(describeTopology(topology), (start) =>
    carveJob(topology, needs, start),
  );
  const { buffer, kernels } = region;
  resetWords(jobWords(buffer, layout));
  if (previous !== undefined) writePrevious(buffer, layout, previous);
  const job = {
    request,
    loads: loads(buffer, layout),
    hasPrevious: previous !== undefined,
    history: history && writeMemory(buffer, layout, history),
    coactivation: pairs,
  };
  const tables = makeTables(topology);
  planLayers(kernels, kernel, buffer, layout, job, 0, tables);
  return { ...tables, ...takeExtras(kernel, request, buffer, layout) };
}

/**
 * The checked sizes that a policy's arguments tell.
 * @throws as checkTopology, in the names of the arguments
 */
export function argumentTopology(
  numLayers: number,
  numLogicalExperts: number,
  numReplicas: number,
  numGroups: number,
  numNodes: number,
  numRanks: number,
  { slotsPerRank, topology }: PolicyContext,
  evenFor?: string,
): Topology {
  const sizes = {
    numLayers,
    numLogicalExperts,
    numPhysicalExperts: numReplicas,
    numRanks,
    numNodes,
    numGroups,
    ...(topology === undefined ? {} : rankOptionsOf(topology)),
    ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
  };
  return checkTopology(sizes, { physical: 'numReplicas', evenFor });
}

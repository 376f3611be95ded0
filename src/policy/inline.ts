import { checkObject, checkWhole } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkTopology, type Topology } from '../core/topology.ts';
import { plainFloats } from '../core/typed-arrays.ts';
import { carveJob, type JobLayout } from '../engine/layout.ts';
import {
  jobWords,
  type KernelRequest,
  kernelDataBytes,
  kernelScratchBytes,
  type PlanJob,
  planLayers,
} from '../engine/plan-layers.ts';
import { makeTables, type PlanTables, takeStats } from '../engine/plan-tables.ts';
import type { CoactivationMatrix } from '../loads/coactivation.ts';
import { type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { inlineKernelMemory } from '../memory/kernel-memory.ts';
import type { PolicyContext } from './abstract.ts';
import { checkSlots } from './closed-slots.ts';
import { mappingOf, writePrevious } from './job-tables.ts';

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
  const topology = topologyOf(
    numLayers,
    numExperts,
    numReplicas,
    numGroups,
    numNodes,
    numRanks,
    checkObject('context', context).slotsPerRank,
  );
  const loads = () => ({ from: 'matrix', data }) as const;
  return mappingOf(topology, runInline(request, topology, loads, context));
}

/** What a kernel that runs inline may know beyond the loads; each is read once. */
interface InlineContext {
  readonly previous?: ExpertMapping | undefined;
  readonly coactivation?: CoactivationMatrix | undefined;
}

/**
 * Runs a kernel on all layers in the calling thread.
 *
 * @param loads brings the loads to where the job reads them, in this memory and layout, and says where that is
 */
export function runInline(
  request: KernelRequest,
  topology: Topology,
  loads: (buffer: ArrayBufferLike, layout: JobLayout) => PlanJob['loads'],
  { previous, coactivation }: InlineContext,
): PlanTables {
  checkSlots(request, topology);
  if (previous !== undefined) checkShape('previous', previous, topology);
  const pairs = coactivation === undefined ? undefined : checkCoactivation(coactivation, topology).data;
  const dataBytes = kernelDataBytes(request, topology);
  const scratchBytes = kernelScratchBytes(request, topology);
  const { region, layout } = inlineKernelMemory(describe(topology), (start) =>
    carveJob(topology, 1, scratchBytes, dataBytes, start),
  );
  const { buffer, kernels } = region;
  jobWords(buffer, layout).fill(0);
  if (previous !== undefined) writePrevious(buffer, layout, previous);
  const job = {
    request,
    loads: loads(buffer, layout),
    hasPrevious: previous !== undefined,
    coactivation: pairs,
  };
  const tables = makeTables(topology);
  planLayers(kernels, buffer, layout, job, 0, tables);
  return { ...tables, ...takeStats(buffer, layout, request) };
}

/** The checked sizes that a policy's arguments tell. @throws as checkTopology, in the names of the arguments */
export function topologyOf(
  numLayers: number,
  numLogicalExperts: number,
  numReplicas: number,
  numGroups: number,
  numNodes: number,
  numRanks: number,
  slotsPerRank?: readonly number[],
): Topology {
  const sizes = {
    numLayers,
    numLogicalExperts,
    numPhysicalExperts: numReplicas,
    numRanks,
    numNodes,
    numGroups,
    ...(slotsPerRank === undefined ? {} : { slotsPerRank }),
  };
  return checkTopology(sizes, { physical: 'numReplicas' });
}

/** Sizes in a message about memory. */
export function describe({ numLayers, numLogicalExperts, numPhysicalExperts }: Topology): string {
  return `topology: ${numLayers} layers, ${numLogicalExperts} experts in ${numPhysicalExperts} slots`;
}

/** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` unless the mapping has the shape of the topology */
export function checkShape(title: string, mapping: ExpertMapping, topology: Topology): void {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = tablesOf(checkMapping(title, mapping));
  const shape = [numLayers, numLogicalExperts, numPhysicalExperts];
  const wanted = [topology.numLayers, topology.numLogicalExperts, topology.numPhysicalExperts];
  if (shape.every((size, i) => size === wanted[i])) return;
  const text = ([layers, logical, physical]: number[]) =>
    `${layers} layers x ${logical} experts in ${physical} slots`;
  throw new EplbRangeError('EPLB_SHAPE', `${title}: is of ${text(shape)}, not ${text(wanted)}`);
}

/**
 * Checks the kind and the shape, each property read once; values are checked where they are read. The result has the same memory.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`
 */
export function checkCoactivation(
  matrix: CoactivationMatrix,
  { numLayers, numLogicalExperts }: Topology,
): CoactivationMatrix {
  const isObject = typeof matrix === 'object' && matrix !== null;
  const data = isObject ? plainFloats(matrix.data) : undefined;
  if (data === undefined) {
    throw new EplbTypeError('EPLB_KIND', 'coactivation: is not {data: Float32Array, numLayers, numExperts}');
  }
  checkWhole('coactivation.numLayers', matrix.numLayers, numLayers, numLayers, 'EPLB_SHAPE');
  checkWhole(
    'coactivation.numExperts',
    matrix.numExperts,
    numLogicalExperts,
    numLogicalExperts,
    'EPLB_SHAPE',
  );
  const wanted = numLayers * numLogicalExperts ** 2;
  if (data.length !== wanted) {
    throw new EplbRangeError('EPLB_SHAPE', `coactivation.data: has ${data.length} values, not ${wanted}`);
  }
  return { data, numLayers, numExperts: numLogicalExperts };
}

import { show } from '../core/checks.ts';
import { EplbError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import { foldWindow, isEven } from '../engine/plan-layers.ts';
import { answerError, type CustomJob, type WorkerAnswer, type WorkerSetup } from '../engine/worker-task.ts';
import { checkLoads, type LoadMatrix } from '../loads/load-matrix.ts';
import { ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { copyInts } from '../memory/copies.ts';
import type { KernelExports } from '../memory/kernel-exports.ts';
import type { AbstractEplbPolicy, PolicyContext } from './abstract.ts';
import { checkClosedSlots } from './closed-slots.ts';
import { shareMapping } from './job-tables.ts';

/** Runs the custom policy of a worker's setup on a whole job, in that worker. Errors come back as data. */
export async function runCustomPolicy(
  kernels: KernelExports,
  { memory, layout, policyUrl }: WorkerSetup,
  job: CustomJob,
): Promise<WorkerAnswer> {
  try {
    if (isEven(kernels, layout, job, 0)) return { ok: true, isEven: true };
    const policy = await loadPolicy(policyUrl ?? '');
    const { topology } = layout;
    const { numLayers, numLogicalExperts: numExperts } = topology;
    if (job.loads.from === 'window') foldWindow(kernels, layout, job.loads.numSamples);
    const shared = new Float32Array(memory.buffer, layout.weights, numLayers * numExperts);
    const data = job.loads.from === 'matrix' ? job.loads.data : shared;
    const weight: LoadMatrix = { data: new Float32Array(data), numLayers, numExperts };
    checkLoads('weight', weight);
    const context: PolicyContext = {
      ...(job.hasPrevious ? { previous: previousMapping(memory.buffer, layout.previous, topology) } : {}),
      ...(job.coactivation === undefined
        ? {}
        : { coactivation: { data: job.coactivation, numLayers, numExperts } }),
      ...(topology.slotsPerRank === undefined ? {} : { slotsPerRank: topology.slotsPerRank }),
    };
    const mapping = askPolicy(policy, policy.name ?? policyUrl, weight, topology, context);
    // What the policy left behind, such as a promise that rejects, ends the thread within its own job and not the next.
    await new Promise((resolve) => setImmediate(resolve));
    return { ok: true, tables: shareMapping(mapping) };
  } catch (error) {
    return answerError(error, 'EPLB_POLICY');
  }
}

/**
 * Loads a policy from a module: its export `policy`, an object, or its default export, an object or a class.
 *
 * @throws EplbError `EPLB_POLICY`
 */
export async function loadPolicy(url: string): Promise<AbstractEplbPolicy> {
  let exports: Record<string, unknown>;
  try {
    exports = await import(url);
  } catch (error) {
    throw new EplbError('EPLB_POLICY', `policy: cannot load ${url}: ${String(error)}`, { cause: error });
  }
  const exported = exports.policy ?? exports.default;
  const policy: unknown = typeof exported === 'function' ? Reflect.construct(exported, []) : exported;
  if (isPolicy(policy)) return policy;
  throw new EplbError(
    'EPLB_POLICY',
    `policy: ${url} exports no policy: an object or class with rebalanceExperts`,
  );
}

/** Whether a value can plan. Not `instanceof`: a policy's module may have loaded its own copy of the library. */
export function isPolicy(value: unknown): value is AbstractEplbPolicy {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'rebalanceExperts') === 'function'
  );
}

/**
 * Has a custom policy plan, and checks what it gives.
 *
 * @param name what to call the policy in messages
 * @throws EplbError `EPLB_POLICY` when the policy throws, or gives no valid mapping of the topology's shape
 */
export function askPolicy(
  policy: AbstractEplbPolicy,
  name: string,
  weight: LoadMatrix,
  topology: Topology,
  context: PolicyContext,
): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  try {
    const result: unknown = policy.rebalanceExperts(
      weight,
      numPhysicalExperts,
      numGroups,
      numNodes,
      numRanks,
      context,
    );
    const mapping = result instanceof ExpertMapping ? result : ExpertMapping.fromJSON(result);
    const shape = [mapping.numLayers, mapping.numLogicalExperts, mapping.numPhysicalExperts].join(' x ');
    const wanted = [numLayers, numLogicalExperts, numPhysicalExperts].join(' x ');
    if (shape !== wanted) {
      throw new Error(`its mapping is of ${shape} (layers x logical x physical), not ${wanted}`);
    }
    checkClosedSlots('its mapping', tablesOf(mapping).phyToLog, topology);
    return mapping;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_POLICY', `policy ${show(name)}: ${why}`, { cause: error });
  }
}

function previousMapping(buffer: ArrayBufferLike, offset: number, topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = copyInts(buffer, offset, numLayers * numPhysicalExperts);
  return new ExpertMapping({ phyToLog, numLayers, numLogicalExperts });
}

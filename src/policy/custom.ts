import { checkTopology } from '../core/check-topology.ts';
import { show } from '../core/checks.ts';
import { messageOf } from '../core/error-data.ts';
import { EplbError, EplbRangeError } from '../core/errors.ts';
import { sayBroken } from '../core/rule-book.ts';
import { knowsRanks, type Topology } from '../core/topology.ts';
import { foldWindow } from '../engine/layer-loads.ts';
import { isCancelled, jobWords } from '../engine/layout.ts';
import type { CustomJob } from '../engine/plan-job.ts';
import { isEven } from '../engine/plan-layers.ts';
import { errorAnswer, type JobPlace, type WorkerAnswer } from '../engine/worker-task.ts';
import type { CoactivationMatrix } from '../loads/coactivation.ts';
import { checkLoads, type LoadMatrix } from '../loads/load-matrix.ts';
import type { LoadSamples } from '../loads/load-samples.ts';
import { ExpertMapping, readMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { copyInts } from '../memory/copies.ts';
import type { KernelExports } from '../memory/kernel-exports.ts';
import type { AbstractEplbPolicy, PolicyContext } from './abstract.ts';
import { brokenInTable } from './broken-rules.ts';
import { checkClosedSlots } from './closed-slots.ts';
import { isPolicy } from './is-policy.ts';
import { shareMapping } from './job-tables.ts';

/** Runs a custom policy on a whole job, in a worker. Errors come back as data. */
export async function runCustomPolicy(
  kernels: KernelExports,
  { memory, layout }: JobPlace,
  job: CustomJob,
  policyUrl: string,
): Promise<WorkerAnswer> {
  try {
    if (isEven(kernels, memory.buffer, layout, job, 0)) return { ok: true, isEven: true };
    const policy = await loadPolicy(policyUrl);
    // Cancelled while the thread was busy, or the module loading: what it would answer is dropped.
    if (isCancelled(jobWords(memory.buffer, layout))) return { ok: true };
    const { topology } = layout;
    const { numLayers, numLogicalExperts: numExperts } = topology;
    if (job.loads.from === 'window') foldWindow(kernels, layout, job.loads.numSamples);
    const shared = new Float32Array(memory.buffer, layout.weights, numLayers * numExperts);
    const data = job.loads.from === 'matrix' ? job.loads.data : shared;
    const context: PolicyContext = {
      ...(job.hasPrevious ? { previous: previousMapping(memory.buffer, layout.previous, topology) } : {}),
      ...(job.coactivation === undefined
        ? {}
        : { coactivation: { data: job.coactivation, numLayers, numExperts } }),
      ...(topology.slotsPerRank === undefined ? {} : { slotsPerRank: topology.slotsPerRank }),
      ...(knowsRanks(topology) ? { topology } : {}),
    };
    const mapping = askPolicy(policy, { data, numLayers, numExperts }, topology, context, policyUrl);
    // What the policy left behind, such as a promise that rejects, ends the thread within its own job and not
    // the next.
    await new Promise((resolve) => setImmediate(resolve));
    return { ok: true, tables: shareMapping(mapping) };
  } catch (error) {
    return errorAnswer(error, 'EPLB_POLICY');
  }
}

/**
 * Loads a policy from a module: its export `policy`, an object, or its default export, an object or a class.
 *
 * @throws EplbError `EPLB_POLICY`
 */
export async function loadPolicy(url: string): Promise<AbstractEplbPolicy> {
  try {
    const exports: Record<string, unknown> = await import(url);
    const exported = exports.policy ?? exports.default;
    const policy: unknown = typeof exported === 'function' ? Reflect.construct(exported, []) : exported;
    if (isPolicy(policy)) return policy;
  } catch (error) {
    throw new EplbError('EPLB_POLICY', `policy: cannot load ${url}: ${messageOf(error)}`, { cause: error });
  }
  throw new EplbError(
    'EPLB_POLICY',
    `policy: ${url} exports no policy: an object or class with rebalanceExperts`,
  );
}

/**
 * Has a custom policy plan, and checks what it gives. The policy gets copies of all that it could write to.
 *
 * @param url what to call a policy without a name in messages
 * @throws EplbError `EPLB_POLICY` when the policy throws, or gives no valid mapping of the topology's shape;
 * EplbRangeError `EPLB_LOAD`
 */
export function askPolicy(
  policy: AbstractEplbPolicy,
  weight: LoadMatrix,
  topology: Topology,
  context: PolicyContext,
  url?: string,
): ExpertMapping {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  // Checked as they are handed over: loads on shared memory can have changed since anyone looked.
  const ownWeight = copyMatrix(weight);
  checkLoads('weight', ownWeight);
  let name: unknown;
  try {
    name = policy.name;
    const result: unknown = policy.rebalanceExperts(
      ownWeight,
      numPhysicalExperts,
      numGroups,
      numNodes,
      numRanks,
      copyContext(context),
    );
    const mapping = readMapping(result, topology);
    checkClosedSlots('its mapping', tablesOf(mapping).phyToLog, topology);
    checkBroken(mapping, topology);
    return mapping;
  } catch (error) {
    const title = typeof name === 'string' ? name : url;
    const message = `policy${title === undefined ? '' : ` ${show(title)}`}: ${messageOf(error)}`;
    throw new EplbError('EPLB_POLICY', message, { cause: error });
  }
}

/** @throws EplbRangeError `EPLB_RULES` for a mapping that breaks a rule */
function checkBroken(mapping: ExpertMapping, topology: Topology): void {
  if (topology.rules === undefined) return;
  const [first] = brokenInTable(tablesOf(mapping).phyToLog, topology);
  if (first !== undefined) throw new EplbRangeError('EPLB_RULES', `its mapping: ${sayBroken(first)}`);
}

function copyMatrix({ data, numLayers, numExperts }: LoadMatrix & CoactivationMatrix): LoadMatrix {
  return Object.freeze({ data: new Float32Array(data), numLayers, numExperts });
}

function copySamples(samples: LoadSamples): LoadSamples {
  const { numSamples, stepsPerSample, newestShare, numSingles } = samples;
  return Object.freeze({
    ...copyMatrix(samples),
    numSamples,
    ...(stepsPerSample === undefined ? {} : { stepsPerSample }),
    ...(newestShare === undefined ? {} : { newestShare }),
    ...(numSingles === undefined ? {} : { numSingles }),
  });
}

/** A mapping cannot be changed: it is given as it is. */
function copyContext(context: PolicyContext): PolicyContext {
  const { previous, coactivation, samples, slotsPerRank, topology } = context;
  return Object.freeze({
    ...(previous === undefined ? {} : { previous }),
    ...(coactivation === undefined ? {} : { coactivation: copyMatrix(coactivation) }),
    ...(samples === undefined ? {} : { samples: copySamples(samples) }),
    ...(slotsPerRank === undefined ? {} : { slotsPerRank: Object.freeze([...slotsPerRank]) }),
    ...(topology === undefined ? {} : { topology: checkTopology(topology) }),
  });
}

function previousMapping(buffer: ArrayBufferLike, offset: number, topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const phyToLog = copyInts(buffer, offset, numLayers * numPhysicalExperts);
  return new ExpertMapping({ phyToLog, numLayers, numLogicalExperts });
}

import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { MAX_SIZE, type Topology } from '../core/topology.ts';
import type { ExpertMapping, LoadSamples } from '../index.ts';
import { type LoadMatrix, type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { readMapping } from '../mapping/expert-mapping.ts';
import { PHYSICAL_KIND, readBinary } from './binary.ts';
import type { StepReport } from './group.ts';
import type { PlanQuestion } from './group-plans.ts';
import type { Held } from './live-epochs.ts';
import { checkSchema, type Schema } from './schema.ts';

// What requests hold, as schemas, and read into what a group takes.

/** @throws EplbRangeError `EPLB_FORMAT` */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new EplbRangeError('EPLB_FORMAT', `body: ${bytes.length} bytes are not JSON in UTF-8`);
  }
}

const MOST_SAMPLES = 4096;
const step: Schema = { type: 'integer', minimum: 0, description: "the engine's step, growing" };
const epoch: Schema = { type: 'integer', minimum: 0, description: 'the epoch they were measured under' };
const rank: Schema = { type: 'integer', minimum: 0, maximum: MAX_SIZE, description: 'whose part it is' };
const digest: Schema = {
  type: 'string',
  pattern: '^[0-9a-f]{64}$',
  description: 'of the mapping of the epoch',
};
const rows = (description: string): Schema => ({
  type: 'array',
  items: { type: 'array', items: { type: 'number' } },
  description,
});
const table = (description: string): Schema => ({
  type: 'array',
  items: { type: 'array', items: { type: 'integer' } },
  description,
});

export const PLAN_SCHEMA: Schema = {
  type: 'object',
  properties: {
    loads: rows('[layers][experts]: tokens of each expert; the window when left out'),
    samples: {
      type: 'array',
      items: { type: 'array', items: { type: 'array', items: { type: 'number' } } },
      maxItems: MOST_SAMPLES,
      description: '[steps][layers][experts]: for policies that plan from steps',
    },
    previous: table('[layers][slots]: what the ranks hold; the live mapping when left out'),
    generation: { type: 'integer', minimum: 0, description: 'which epoch has to be live' },
    planId: {
      oneOf: [
        { type: 'string', minLength: 1, maxLength: 128 },
        { type: 'integer', minimum: 0 },
      ],
      description: 'names the plan where no loads are given: the first answer stands',
    },
    transfer: { type: 'boolean', description: 'whether the answer is to have a transfer plan' },
  },
};

export const LOADS_SCHEMA: Schema = {
  type: 'object',
  properties: {
    step,
    epoch,
    rank,
    loads: rows('[layers][experts]: tokens of each expert'),
    physical: rows("[layers][slots]: tokens of each slot; of a rank's own slots when rank is given"),
    digest,
    physicalToLogical: table('[layers][slots]: the mapping of the epoch, if no plan from here'),
  },
};

/** What `loads` takes beside a body in bytes. */
export const LOADS_QUERY = { step, epoch, rank, digest };
/** What `plan` takes beside a body in bytes. */
export const PLAN_QUERY = { generation: PLAN_SCHEMA.properties!.generation! };

interface PlanBody {
  readonly loads?: LoadsInput;
  readonly samples?: readonly (readonly (readonly number[])[])[];
  readonly previous?: number[][];
  readonly generation?: number;
  readonly planId?: string | number;
  readonly transfer?: boolean;
}

/** A plan's question in JSON. @throws EplbTypeError, EplbRangeError */
export function readPlanBody(
  body: unknown,
  topology: Topology,
  known: readonly Held[] = [],
): Omit<PlanQuestion, 'saysBalance'> & { readonly transfer: boolean } {
  checkSchema('plan', PLAN_SCHEMA, body);
  const given = body as PlanBody;
  const { numLayers, numLogicalExperts } = topology;
  const samples = given.samples && readSamples(given.samples, topology);
  const loads =
    given.loads === undefined
      ? samples && meanOf(samples)
      : toLoadMatrix('plan.loads', given.loads, numLayers, numLogicalExperts);
  return {
    loads,
    samples,
    previous: given.previous && readTable('plan.previous', given.previous, topology, known),
    generation: given.generation,
    planId: given.planId === undefined ? undefined : String(given.planId),
    transfer: given.transfer === true,
  };
}

/** A plan's question in bytes. @throws EplbRangeError */
export function readPlanBytes(
  bytes: Uint8Array,
  { generation }: { readonly generation?: number },
  topology: Topology,
  known: readonly Held[],
): Omit<PlanQuestion, 'saysBalance'> & { readonly transfer: boolean } {
  const { kind, loads, previous } = readBinary(bytes, topology, known);
  if (kind === PHYSICAL_KIND) {
    throw new EplbRangeError(
      'EPLB_FORMAT',
      'body: a plan is made from loads of experts, kind 2, not of slots',
    );
  }
  return { loads, previous, generation, transfer: false };
}

interface LoadsBody {
  readonly step?: number;
  readonly epoch?: number;
  readonly rank?: number;
  readonly loads?: LoadsInput;
  readonly physical?: LoadsInput;
  readonly digest?: string;
  readonly physicalToLogical?: number[][];
}

/** A report in JSON. @throws EplbTypeError, EplbRangeError */
export function readLoadsBody(body: unknown, topology: Topology, known: readonly Held[] = []): StepReport {
  checkSchema('loads', LOADS_SCHEMA, body);
  const { loads, physical, physicalToLogical, ...rest } = body as LoadsBody;
  if (loads !== undefined && physical !== undefined) {
    throw new EplbRangeError('EPLB_OPTION', 'loads: give loads of experts or physical ones, not both');
  }
  const matrix = loads ?? physical;
  const kind = loads === undefined ? 'physical' : 'logical';
  return reportOf(
    matrix && { kind, loads: toLoadMatrix(`loads.${loads === undefined ? 'physical' : 'loads'}`, matrix) },
    {
      ...rest,
      mapping: physicalToLogical && readTable('loads.physicalToLogical', physicalToLogical, topology, known),
    },
    topology,
  );
}

/** A report in bytes. @throws EplbRangeError */
export function readLoadsBytes(
  bytes: Uint8Array,
  query: Pick<LoadsBody, 'step' | 'epoch' | 'rank' | 'digest'>,
  topology: Topology,
  known: readonly Held[] = [],
): StepReport {
  const { kind, loads, previous } = readBinary(bytes, topology, known);
  const named = kind === PHYSICAL_KIND ? 'physical' : 'logical';
  return reportOf({ kind: named, loads }, { ...query, mapping: previous }, topology);
}

function reportOf(
  measured: { readonly kind: 'logical' | 'physical'; readonly loads: LoadMatrix } | undefined,
  {
    step: at,
    epoch: of,
    rank: whose,
    digest: named,
    mapping,
  }: Omit<LoadsBody, 'loads' | 'physical'> & {
    readonly mapping: ExpertMapping | undefined;
  },
  { numRanks }: Topology,
): StepReport {
  const live = { epoch: of, digest: named, mapping };
  if ((named !== undefined || mapping !== undefined) && of === undefined) {
    throw new EplbTypeError('EPLB_KIND', 'loads: epoch is missing: of which epoch is the mapping?');
  }
  if (measured === undefined) {
    if (named !== undefined || mapping !== undefined) return live;
    throw new EplbTypeError('EPLB_KIND', 'loads: loads is missing, or physical, or the mapping of an epoch');
  }
  if (at === undefined) throw new EplbTypeError('EPLB_KIND', 'loads: step is missing');
  if (of === undefined && measured.kind === 'physical') {
    throw new EplbTypeError('EPLB_KIND', 'loads: epoch is missing: which mapping had these slots?');
  }
  if (whose !== undefined && whose >= numRanks) {
    throw new EplbRangeError('EPLB_RANGE', `loads: rank ${whose} is not from 0 to ${numRanks - 1}`);
  }
  return { ...live, loads: { ...measured, step: at, rank: whose } };
}

/** A table of the group's ranks, or of those that a known mapping is of. */
function readTable(
  title: string,
  phyToLog: number[][],
  topology: Topology,
  known: readonly Held[],
): ExpertMapping {
  const width = Array.isArray(phyToLog[0]) ? phyToLog[0].length : 0;
  const isOlder = known.some(({ mapping }) => mapping.numPhysicalExperts === width);
  try {
    return readMapping({ phyToLog }, isOlder ? { ...topology, numPhysicalExperts: width } : topology);
  } catch (error) {
    if (error instanceof Error) error.message = error.message.replace(/^mapping/, title);
    throw error;
  }
}

function readSamples(
  samples: NonNullable<PlanBody['samples']>,
  { numLayers, numLogicalExperts }: Topology,
): LoadSamples {
  const size = numLayers * numLogicalExperts;
  if (samples.length === 0) throw new EplbRangeError('EPLB_SHAPE', 'plan.samples: has no steps');
  const data = new Float32Array(samples.length * size);
  for (const [i, sample] of samples.entries()) {
    data.set(toLoadMatrix(`plan.samples[${i}]`, sample, numLayers, numLogicalExperts).data, i * size);
  }
  return { data, numSamples: samples.length, numLayers, numExperts: numLogicalExperts };
}

function meanOf({ data, numSamples, numLayers, numExperts }: LoadSamples): LoadMatrix {
  const mean = new Float64Array(numLayers * numExperts);
  for (let i = 0; i < data.length; i++) mean[i % mean.length]! += data[i]! / numSamples;
  return { data: Float32Array.from(mean), numLayers, numExperts };
}

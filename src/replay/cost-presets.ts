import { checkTopology } from '../core/check-topology.ts';
import { checkNumber, checkObject } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { bytesPerExpert, flopsPerLoad, MODEL_SHAPES, modelShape, shapeLike } from '../cost/model-shapes.ts';
import { type CostModelInit, costModel, ExpertMapping, type CostModel as SlotCostModel } from '../index.ts';
import type { ReplayCost } from './configuration.ts';
import { checkCostModel } from './cost-model.ts';
import { slotCost } from './slot-cost.ts';

/** A kind of device and its links, as published. */
export interface Hardware {
  readonly name: string;
  /** Dense, of a device: for weights of 8 bits in blocks, and for all others (which are widened to bf16). */
  readonly fp8FlopsPerSecond: number;
  readonly bf16FlopsPerSecond: number;
  /**
   * The share of the above that grouped matrix products of experts reach: an assumption, not a published
   * figure.
   */
  readonly reached: number;
  readonly intraNodeBytesPerSecond: number;
  readonly interNodeBytesPerSecond: number;
}

/**
 * H100 SXM by NVIDIA's data sheet: 1,979 and 989.4 TFLOPS dense; NVLink 900 GB/s both ways together, so 450
 * one way; one network card of 400 Gbit/s a device.
 */
export const H100: Hardware = {
  name: 'h100',
  fp8FlopsPerSecond: 1979e12,
  bf16FlopsPerSecond: 989.4e12,
  reached: 0.4,
  intraNodeBytesPerSecond: 450e9,
  interNodeBytesPerSecond: 50e9,
};

/**
 * The cost of tokens alone: a load costs the floating-point operations of one expert for one token / the
 * operations that the device reaches. A step with few tokens waits for the reading of weights instead and
 * gains less by balancing than this says.
 *
 * @deprecated {@link slotCost} of a preset such as `costModel('h100:deepseek-v3')` knows what weights take.
 * @throws EplbError `EPLB_OPTION` for a model that is not known; EplbTypeError `EPLB_KIND`, EplbRangeError
 *   `EPLB_RANGE` for the hardware
 */
export function hardwareCost(model: string, hardware: Hardware = H100): ReplayCost {
  const shape = modelShape(model);
  checkHardware(hardware);
  const flops = shape.dtype === 'fp8-block128' ? hardware.fp8FlopsPerSecond : hardware.bf16FlopsPerSecond;
  return {
    name: model,
    time: { kind: 'load', secondsPerLoad: flopsPerLoad(shape) / (flops * hardware.reached) },
    bytesPerExpert: bytesPerExpert(shape),
    intraNodeBytesPerSecond: hardware.intraNodeBytesPerSecond,
    interNodeBytesPerSecond: hardware.interNodeBytesPerSecond,
    concurrentTransfers: 'rank',
    countedMoves: 'rank',
    stepSeconds: 'modelled',
    zeroLoadsCountAsOne: false,
  };
}

function checkHardware(hardware: Hardware): void {
  checkOptions('hardware', hardware, ['name', ...RATES]);
  for (const field of RATES) {
    const rate = checkNumber(`hardware.${field}`, hardware[field]);
    if (rate > 0 && rate < Number.POSITIVE_INFINITY) continue;
    throw new EplbRangeError('EPLB_RANGE', `hardware.${field}: ${rate} is not a finite number above 0`);
  }
}

const RATES = [
  'fp8FlopsPerSecond',
  'bf16FlopsPerSecond',
  'reached',
  'intraNodeBytesPerSecond',
  'interNodeBytesPerSecond',
] as const;

/**
 * The public competition's: modelled time = 60 s x mean PAR + moved slots x 88,080,384 B / 900e9 B/s, a moved
 * slot being one whose expert changed; planning time counts in steps of 0.08 s; loads of 0 are read as 1. Its
 * first table is {@link competitionStart}, its reference the default policy planned anew every {@link
 * COMPETITION_INTERVAL} steps.
 */
export const COMPETITION: ReplayCost = {
  name: 'competition',
  time: { kind: 'peak-to-average', secondsAtBalance: 60 },
  bytesPerExpert: 88_080_384,
  intraNodeBytesPerSecond: 900e9,
  interNodeBytesPerSecond: 900e9,
  concurrentTransfers: 'none',
  countedMoves: 'slot',
  stepSeconds: 0.08,
  zeroLoadsCountAsOne: true,
};

/** Steps between two plans of the competition's reference. */
export const COMPETITION_INTERVAL = 1024;

/** Names that {@link costPreset} knows. */
export const COST_PRESETS: readonly string[] = ['competition', ...MODEL_SHAPES.map(({ name }) => name)];

/** The device of a model that is named alone: the one that was measured. */
export const DEFAULT_DEVICE = 'h200';

/** The model whose experts are taken where no known one has the recording's layers and experts. */
const DEFAULT_MODEL = 'deepseek-v3';

/**
 * The cost with a name of {@link COST_PRESETS}, or undefined. That of a model is the model on an H200, as
 * `costModel('h200:deepseek-v3')` has it.
 */
export function costPreset(name: string): ReplayCost | undefined {
  if (name === COMPETITION.name) return COMPETITION;
  return COST_PRESETS.includes(name) ? slotCost(costModel(`${DEFAULT_DEVICE}:${name}`)) : undefined;
}

/**
 * The name of the model whose experts a recording is taken to have when nothing is said: the first known one
 * with as many layers and experts, else DeepSeek-V3, which is then an assumption.
 */
export function modelLike(sizes: { readonly numLayers: number; readonly numLogicalExperts: number }): {
  readonly name: string;
  readonly isAssumed: boolean;
} {
  const name = shapeLike(sizes)?.name;
  return { name: name ?? DEFAULT_MODEL, isAssumed: name === undefined };
}

/** What prices a replay: a cost model of slots, its object or its preset's name, or a {@link ReplayCost}. */
export type ReplayCostInit = ReplayCost | SlotCostModel | CostModelInit | string;

/**
 * What a replay is priced by, from whatever says so.
 *
 * @throws EplbTypeError, EplbRangeError, naming the field; EplbRangeError `EPLB_RANGE` for a name of no
 *   preset
 */
export function replayCost(title: string, given: ReplayCostInit): ReplayCost {
  if (typeof given === 'string') return costPreset(given) ?? slotCost(costModel(given));
  if (typeof given !== 'object' || given === null || 'time' in given) return checkCostModel(title, given);
  return slotCost(costModel(given));
}

/**
 * The competition's first table: every rank has its share of the experts in order, and its redundant slots
 * repeat the last.
 *
 * @throws EplbTypeError, EplbRangeError for wrong sizes; EplbRangeError `EPLB_TOPOLOGY` when the ranks do not
 *   divide the experts
 */
export function competitionStart(sizes: {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
}): ExpertMapping {
  checkObject('sizes', sizes);
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = checkTopology({
    numLayers: sizes.numLayers,
    numLogicalExperts: sizes.numLogicalExperts,
    numPhysicalExperts: sizes.numPhysicalExperts,
    numRanks: sizes.numRanks,
    numNodes: 1,
    numGroups: 1,
  });
  if (numLogicalExperts % numRanks !== 0) {
    const why = `the competition's first table gives every rank as many experts`;
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `numRanks: ${numRanks} does not divide ${numLogicalExperts} experts; ${why}`,
    );
  }
  const own = numLogicalExperts / numRanks;
  const width = numPhysicalExperts / numRanks;
  const row = Array.from({ length: numPhysicalExperts }, (_, slot) => {
    const rank = Math.floor(slot / width);
    return rank * own + Math.min(slot % width, own - 1);
  });
  return ExpertMapping.fromPhysicalToLogical(
    Array.from({ length: numLayers }, () => row),
    numLogicalExperts,
  );
}

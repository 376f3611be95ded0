import { checkNumber, checkObject } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkTopology } from '../core/topology.ts';
import { bytesPerExpert, flopsPerLoad, MODEL_SHAPES, modelShape } from '../cost/model-shapes.ts';
import { ExpertMapping, type CostModel as SlotCostModel } from '../index.ts';
import type { CostModel } from './configuration.ts';

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
 * The cost model of a model on a kind of device. A load costs the floating-point operations of one expert for
 * one token / the operations that the device reaches: right where experts wait for arithmetic (long prompts,
 * large batches). A step with few tokens waits for the reading of weights instead and gains less by balancing
 * than this says.
 *
 * @throws EplbError `EPLB_OPTION` for a model that is not known; EplbTypeError `EPLB_KIND`, EplbRangeError
 *   `EPLB_RANGE` for the hardware
 */
export function hardwareCost(model: string, hardware: Hardware = H100): CostModel {
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

/**
 * A replay's cost model by one of slots: steps take what `layerCosts` says, with dispatch and combine.
 * The moves of a layer take one round, and their bytes over links.
 */
export function slotCost(cost: SlotCostModel): CostModel {
  const model = cost.toJSON();
  const { links, moves, bytesPerExpert, name } = model;
  return {
    name,
    time: { kind: 'slots', model },
    bytesPerExpert,
    intraNodeBytesPerSecond: links.intraNode!.bytesPerSecond * moves.bandwidthShare,
    interNodeBytesPerSecond: links.interNode!.bytesPerSecond * moves.bandwidthShare,
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
export const COMPETITION: CostModel = {
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

/** The cost model with a name of {@link COST_PRESETS}, or undefined. */
export function costPreset(name: string): CostModel | undefined {
  if (name === COMPETITION.name) return COMPETITION;
  return COST_PRESETS.includes(name) ? hardwareCost(name) : undefined;
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

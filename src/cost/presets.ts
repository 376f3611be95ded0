import { show } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import type { CostModelInit } from './cost-json.ts';
import { DEVICES } from './devices.ts';
import { BYTES_PER_WEIGHT, type ExpertDtype, flopsPerLoad, MODEL_SHAPES } from './model-shapes.ts';
import type { SlotRoofline, SlotTable } from './slot-curve.ts';

/** How the weights of experts are held. Weights of 4 bits are widened: their arithmetic is that of bf16. */
const PRECISIONS = ['bf16', 'fp8', 'int8', 'mxfp4', 'int4'] as const;
type Precision = (typeof PRECISIONS)[number];

const PUBLISHED: Readonly<Record<ExpertDtype, Precision>> = {
  bf16: 'bf16',
  'fp8-block128': 'fp8',
  mxfp4: 'mxfp4',
  'int4-group32': 'int4',
};

/** Bytes of one weight, scales included: those of published weights; int8 has one scale a row. */
const BYTES_PER_HELD_WEIGHT: Readonly<Record<Precision, number>> = {
  bf16: BYTES_PER_WEIGHT.bf16,
  fp8: BYTES_PER_WEIGHT['fp8-block128'],
  int8: 1,
  mxfp4: BYTES_PER_WEIGHT.mxfp4,
  int4: BYTES_PER_WEIGHT['int4-group32'],
};

/**
 * What was measured on an H200 with experts of 7,168 x 2,048 in bf16 (PyTorch 2.11, its grouped matrix
 * product): a fit to 79 cells of 0 to 20 active slots with 1 to 1,024 tokens each, with the least fourth
 * powers of errors. Of the cells half are within 5.9 %, and all within 23.7 %. docs/cost.md has the
 * residuals.
 */
const MEASURED_FIXED_SECONDS = 63.8e-6;
const MEASURED_SLOT: SlotTable = {
  tokens: [128, 256, 512, 1024],
  seconds: [27.67e-6, 39.12e-6, 71.91e-6, 139.5e-6],
  tile: 128,
};
/** Shares of the peak figures that the same cells reach when a roofline is fitted to them. */
const MEMORY_REACHED = 0.66;
const ARITHMETIC_REACHED = 0.61;
const TILE = 128;
/**
 * Measured on four H200s of one node: an all-to-all of NCCL takes 87 us and its bytes at 420 GB/s, 93 % of
 * the peak; a round of transfers of weights 0.52 ms, and its bytes at 89 % of that (six patterns of
 * transfers, half within 6.0 %, all within 19.7 %).
 */
const EXCHANGE_LATENCY_SECONDS = 87e-6;
const LINK_REACHED = 0.93;
const MOVES = { secondsPerRound: 0.516e-3, bandwidthShare: 0.889 };

/** The devices, models and precisions whose names make up those of presets: `h200:deepseek-v3:bf16`. */
export interface CostPresetNames {
  readonly devices: readonly string[];
  readonly models: readonly string[];
  readonly precisions: readonly string[];
}

/** The parts of names that {@link costModel} knows. */
export function costPresetNames(): CostPresetNames {
  return {
    devices: DEVICES.map(({ name }) => name),
    models: MODEL_SHAPES.map(({ name }) => name),
    precisions: PRECISIONS,
  };
}

/**
 * The cost model with a name `DEVICE:MODEL[:PRECISION]`; without a precision that in which the model is
 * published, or int8 where the device has no fp8. Case does not matter.
 *
 * @throws EplbRangeError `EPLB_RANGE` for a name that is none
 */
export function costModelPreset(name: string): CostModelInit {
  const [deviceName, modelName, precisionName, ...rest] = name.toLowerCase().split(':');
  const { devices, models, precisions } = costPresetNames();
  if (modelName === undefined || rest.length > 0) {
    const known = `devices ${devices.join(', ')}; models ${models.join(', ')}; precisions ${precisions.join(', ')}`;
    throw new EplbRangeError('EPLB_RANGE', `${show(name)} is not DEVICE:MODEL[:PRECISION]: ${known}`);
  }
  const device = oneOf('device', deviceName!, DEVICES, (one) => one.name);
  const shape = oneOf('model', modelName, MODEL_SHAPES, (one) => one.name);
  const published = PUBLISHED[shape.dtype];
  const usual = published === 'fp8' && device.fp8 === undefined ? 'int8' : published;
  const precision =
    precisionName === undefined ? usual : oneOf('precision', precisionName, PRECISIONS, (one) => one);
  const flops = precision === 'fp8' ? device.fp8 : precision === 'int8' ? device.int8 : device.bf16;
  if (flops === undefined) {
    throw new EplbRangeError('EPLB_RANGE', `precision: ${show(precision)} is not of device ${device.name}`);
  }
  const isMeasured =
    device.name === 'h200' && precision === 'bf16' && shape.hiddenSize === 7168 && shape.expertSize === 2048;
  const flopsPerToken = flopsPerLoad(shape);
  // A multiplication and an addition for each weight.
  const bytesPerExpert = Math.round((flopsPerToken / 2) * BYTES_PER_HELD_WEIGHT[precision]);
  const computed: SlotRoofline = {
    floor: bytesPerExpert / (device.memory * MEMORY_REACHED),
    perToken: flopsPerToken / (flops * ARITHMETIC_REACHED),
    tile: TILE,
  };
  const link = (bytesPerSecond: number) => ({
    latencySeconds: EXCHANGE_LATENCY_SECONDS,
    bytesPerSecond: bytesPerSecond * LINK_REACHED,
  });
  const bytesPerValue = precision === 'fp8' || precision === 'int8' ? 1 : 2;
  return {
    name: `${device.name}:${shape.name}:${precision}`,
    basis: isMeasured ? 'measured' : 'computed',
    source: isMeasured
      ? 'H200, PyTorch 2.11, 2026-11-27: a rank of 20 experts, and 4 devices of one node'
      : 'published peak figures x what an H200 reached in measurements',
    fixedSeconds: MEASURED_FIXED_SECONDS,
    slotSeconds: isMeasured ? MEASURED_SLOT : computed,
    dispatchBytesPerToken: shape.hiddenSize * bytesPerValue,
    combineBytesPerToken: shape.hiddenSize * 2,
    bytesPerExpert,
    links: { intraNode: link(device.intraNode), interNode: link(device.interNode) },
    moves: MOVES,
  };
}

function oneOf<T>(title: string, name: string, all: readonly T[], nameOf: (one: T) => string): T {
  const found = all.find((one) => nameOf(one) === name);
  if (found !== undefined) return found;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(name)} is none of ${all.map(nameOf).join(', ')}`);
}

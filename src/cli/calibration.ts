import { checkAtLeast, checkObject, checkText, checkWhole, show } from '../core/checks.ts';
import { EplbError, isOwnError } from '../core/errors.ts';
import type { CostModelInit } from '../cost/cost-json.ts';
import { CostModel } from '../cost/cost-model.ts';
import {
  type FitError,
  fitLine,
  fitMoves,
  fitSlots,
  type LinkMeasurement,
  type SlotFit,
  type SlotMeasurement,
  summary,
} from '../cost/fit.ts';
import { bytesPerExpert, type ExpertDtype } from '../cost/model-shapes.ts';

/** What plugins/python/eplb_calibrate.py wrote, checked. */
export interface Calibration {
  readonly device: string;
  /** Versions and the kernel, for people. */
  readonly source: string;
  readonly hiddenSize: number;
  readonly expertSize: number;
  readonly precision: string;
  readonly slots: readonly SlotMeasurement[];
  /** How far the passes over the cells differ, where the script wrote it. */
  readonly noise?: MeasuredNoise;
  /** All-to-alls, and moves of weights; empty where there was one device. */
  readonly exchanges: readonly LinkMeasurement[];
  readonly transfers: readonly LinkMeasurement[];
}

/** How much chance there is in measurements. No fit can be expected to come nearer than it. */
interface MeasuredNoise {
  /** Of a cell, slowest pass / fastest pass - 1: the median of all cells, and the most. */
  readonly passes: FitError;
  /** How much longer late passes took than early ones, as a share: the median of all cells. */
  readonly drift: number;
}

/** A cost model made of measurements, and how near it comes to them. */
export interface CalibratedCost {
  readonly cost: CostModel;
  readonly fit: SlotFit;
  /** Of exchanges and of moves, where they were measured. */
  readonly exchangeError?: FitError;
  readonly moveError?: FitError;
}

/** Fewer cells with tokens say nothing of a curve. */
const LEAST_CELLS = 8;
const MOST_CELLS = 10_000;
const MOST_SLOTS = 4096;
/** How the script's precisions are held; what has no scales has two bytes a weight. */
const DTYPES: Readonly<Record<string, ExpertDtype>> = { bf16: 'bf16', fp16: 'bf16', fp8: 'fp8-block128' };

/**
 * Checks what a file of measurements holds.
 * @throws EplbError `EPLB_FORMAT`, naming the place
 */
export function readCalibration(value: unknown): Calibration {
  try {
    return checked(value);
  } catch (error) {
    if (!isOwnError(error) || error.code === 'EPLB_FORMAT') throw error;
    throw new EplbError('EPLB_FORMAT', error.message, { cause: error });
  }
}

function checked(value: unknown): Calibration {
  const given = checkObject('measurements', value as Readonly<Record<string, unknown>>);
  const { format, version, precision } = given;
  if (format !== 'eplb-calibration' || version !== 1) {
    const found = `format ${show(format)}, version ${show(version)}`;
    const message = `eplb_calibrate.py writes format "eplb-calibration", version 1; this has ${found}`;
    throw new EplbError('EPLB_FORMAT', message);
  }
  if (typeof precision !== 'string' || !Object.hasOwn(DTYPES, precision)) {
    const known = Object.keys(DTYPES).join(', ');
    throw new EplbError('EPLB_FORMAT', `precision: ${show(precision)} is none of ${known}`);
  }
  const slots = list('slots', given.slots, MOST_CELLS).map((cell, i) => slotCell(`slots[${i}]`, cell));
  const withTokens = slots.filter(({ tokensPerSlot }) => tokensPerSlot.some((tokens) => tokens > 0));
  if (withTokens.length < LEAST_CELLS) {
    const has = `has ${withTokens.length} cells with tokens`;
    throw new EplbError('EPLB_FORMAT', `slots: ${has}, and a fit needs ${LEAST_CELLS} or more`);
  }
  const device = checkText('device', given.device);
  const noise = noiseOf(given);
  const rest = ['torch', 'runtime', 'kernel', 'date'].flatMap((name) =>
    given[name] === undefined ? [] : [checkText(name, given[name])],
  );
  return {
    device,
    source: [device, ...rest].join(', '),
    hiddenSize: checkWhole('hiddenSize', given.hiddenSize, 1, 1e6),
    expertSize: checkWhole('expertSize', given.expertSize, 1, 1e6),
    precision,
    slots,
    ...(noise === undefined ? {} : { noise }),
    exchanges: links('exchanges', given.exchanges),
    transfers: links('transfers', given.transfers),
  };
}

function slotCell(title: string, value: unknown): SlotMeasurement {
  const cell = checkObject(title, value as Readonly<Record<string, unknown>>);
  const tokensPerSlot = list(`${title}.tokensPerSlot`, cell.tokensPerSlot, MOST_SLOTS).map((tokens, slot) =>
    checkWhole(`${title}.tokensPerSlot[${slot}]`, tokens, 0, 1e9),
  );
  return { tokensPerSlot, seconds: time(title, cell.seconds) };
}

/** Undefined for a file of an older script, which did not write it. */
function noiseOf({ slots, drift }: Readonly<Record<string, unknown>>): MeasuredNoise | undefined {
  if (drift === undefined) return undefined;
  const spreads = (slots as readonly Readonly<Record<string, unknown>>[]).map((cell, i) => {
    const fastest = checkAtLeast(`slots[${i}].fastestSeconds`, cell.fastestSeconds, 1e-9);
    return checkAtLeast(`slots[${i}].slowestSeconds`, cell.slowestSeconds, fastest) / fastest - 1;
  });
  return { passes: summary(spreads), drift: checkAtLeast('drift', drift, -1) };
}

function links(title: string, value: unknown): LinkMeasurement[] {
  if (value === undefined) return [];
  return list(title, value, MOST_CELLS).map((one, i) => {
    const of = `${title}[${i}]`;
    const { rounds = 1, bytes, seconds } = checkObject(of, one as Readonly<Record<string, unknown>>);
    return {
      rounds: checkWhole(`${of}.rounds`, rounds, 1, 1e6),
      bytes: checkWhole(`${of}.bytes`, bytes, 1, 1e15),
      seconds: time(of, seconds),
    };
  });
}

/** A time that was measured: none is 0, and none as long as an hour. */
function time(title: string, value: unknown): number {
  const seconds = checkAtLeast(`${title}.seconds`, value, 1e-9);
  if (seconds <= 3600) return seconds;
  throw new EplbError('EPLB_FORMAT', `${title}.seconds: ${seconds} is more than an hour`);
}

function list(title: string, value: unknown, most: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new EplbError('EPLB_FORMAT', `${title}: ${show(value)} is not a list`);
  if (value.length <= most) return value;
  throw new EplbError('EPLB_FORMAT', `${title}: has ${value.length} entries, more than ${most}`);
}

/**
 * Fits a cost model to measurements. Links that were not measured are those of `base`.
 *
 * @param name what the cost model is called
 */
export function calibrate(measured: Calibration, base: CostModel, name: string): CalibratedCost {
  const { hiddenSize, expertSize, precision, slots, exchanges, transfers, source } = measured;
  const fit = fitSlots(slots);
  const { links, moves } = base.toJSON();
  const exchange = fitLine(exchanges);
  // An all-to-all is a dispatch or a combine: its start is the latency of the links.
  const { latencySeconds, bytesPerSecond } = exchange ?? links.intraNode!;
  const intraNode = { latencySeconds, bytesPerSecond };
  const move = fitMoves(transfers, bytesPerSecond);
  const dtype = DTYPES[precision]!;
  const init: CostModelInit = {
    name,
    basis: 'measured',
    source,
    fixedSeconds: fit.fixedSeconds,
    slotSeconds: fit.slotSeconds,
    dispatchBytesPerToken: hiddenSize * (precision === 'fp8' ? 1 : 2),
    combineBytesPerToken: hiddenSize * 2,
    bytesPerExpert: bytesPerExpert({ ...SHAPE, hiddenSize, expertSize, dtype }),
    links: { ...links, intraNode },
    moves: move?.moves ?? moves,
  };
  return {
    cost: new CostModel(init),
    fit,
    ...(exchange === undefined ? {} : { exchangeError: exchange.error }),
    ...(move === undefined ? {} : { moveError: move.error }),
  };
}

/** What `eplb calibrate --json` says: the cost model, how near it comes, and every cell. */
export function calibrationReport(
  { device, source, slots, noise }: Calibration,
  { cost, fit, exchangeError, moveError }: CalibratedCost,
  base: string,
) {
  return {
    kind: 'calibrate-report' as const,
    formatVersion: 1 as const,
    device,
    source,
    base,
    cost: cost.toJSON(),
    errorShares: {
      slots: fit.error,
      slotsHeldOut: fit.errorOnOthers,
      exchanges: exchangeError ?? null,
      moves: moveError ?? null,
    },
    noise: noise ?? null,
    cells: slots.map(({ tokensPerSlot, seconds: measuredSeconds }) => ({
      tokensPerSlot,
      measuredSeconds,
      fittedSeconds: cost.rankSeconds(tokensPerSlot),
    })),
  };
}

const SHAPE = { name: '', numLayers: 1, numExperts: 1, topK: 1, source: '' };

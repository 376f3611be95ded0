import type { MoveCost } from './cost-json.ts';
import { leastPowers } from './least-powers.ts';
import { SlotCurve, type SlotRoofline, type SlotTable } from './slot-curve.ts';

/** A rank's slots, and the seconds that it took for them. */
export interface SlotMeasurement {
  readonly tokensPerSlot: readonly number[];
  readonly seconds: number;
}

/** How far a fit is from what was measured: |forecast / measured - 1|. */
export interface FitError {
  readonly median: number;
  readonly worst: number;
}

/** A fit of a rank's time to measurements. */
export interface SlotFit {
  readonly fixedSeconds: number;
  readonly slotSeconds: SlotRoofline | SlotTable;
  /** On the measurements that it was fitted to. */
  readonly error: FitError;
  /** Of fits to one half of the measurements, on the other half. */
  readonly errorOnOthers: FitError;
}

type Shape = 'roofline' | 'table';

/** Rows of a tile that matrix products work in. 1: none is seen. */
const TILES = [1, 16, 32, 64, 128, 256];
const SHAPES: readonly Shape[] = ['roofline', 'table'];

/**
 * Fits the fixed time and the curve of a slot. Every shape of curve and every tile is fitted to the even
 * measurements and tried on the odd ones, and the other way round. The one with the least sum of fourth
 * powers of errors there is fitted to all. Of equal ones the simpler: a roofline, and the smaller tile.
 *
 * @param measurements checked: times above 0, at least four of them with tokens
 */
export function fitSlots(measurements: readonly SlotMeasurement[]): SlotFit {
  const halves = [0, 1].map((half) => measurements.filter((_, i) => i % 2 === half));
  let best: { readonly shape: Shape; readonly tile: number; readonly errors: number[] } | undefined;
  for (const shape of SHAPES) {
    for (const tile of TILES) {
      const errors = halves.flatMap((half, i) => errorsOf(fitShape(half, shape, tile), halves[1 - i]!));
      if (best === undefined || powers(errors) < powers(best.errors) * (1 - 1e-9))
        best = { shape, tile, errors };
    }
  }
  const { shape, tile, errors } = best!;
  const fit = fitShape(measurements, shape, tile);
  return { ...fit, error: summary(errorsOf(fit, measurements)), errorOnOthers: summary(errors) };
}

/** The error of a rank's time on measurements. */
export function slotError(fit: Fit, measurements: readonly SlotMeasurement[]): FitError {
  return summary(errorsOf(fit, measurements));
}

type Fit = Pick<SlotFit, 'fixedSeconds' | 'slotSeconds'>;

function errorsOf({ fixedSeconds, slotSeconds }: Fit, measurements: readonly SlotMeasurement[]): number[] {
  const curve = new SlotCurve('slotSeconds', slotSeconds);
  return measurements.map(({ tokensPerSlot, seconds }) => {
    const forecast = tokensPerSlot.reduce((sum, tokens) => sum + curve.secondsFor(tokens), fixedSeconds);
    return Math.abs(forecast / seconds - 1);
  });
}

function fitShape(measurements: readonly SlotMeasurement[], shape: Shape, tile: number): Fit {
  const padded = measurements.map(({ tokensPerSlot, seconds }) => ({
    tokens: tokensPerSlot.filter((tokens) => tokens > 0).map((tokens) => Math.ceil(tokens / tile) * tile),
    seconds,
  }));
  return shape === 'table' ? fitTable(padded, tile) : fitRoofline(padded, tile, measurements);
}

type Padded = readonly { readonly tokens: readonly number[]; readonly seconds: number }[];

/**
 * Points at tiles and their doubles up to the largest that was measured. What is fitted is how much longer
 * each takes than the one before, so that none takes less.
 */
function fitTable(padded: Padded, tile: number): Fit {
  const most = padded.reduce((max, { tokens }) => Math.max(max, ...tokens), tile);
  const points = [tile];
  while (2 * points.at(-1)! <= most) points.push(2 * points.at(-1)!);
  const rows = padded.map(({ tokens, seconds }) => {
    const steps = points.map((point, i) =>
      tokens.reduce((sum, at) => {
        if (i === 0) return sum + 1;
        const before = points[i - 1]!;
        const share = Math.max(0, (at - before) / (point - before));
        return sum + (i === points.length - 1 ? share : Math.min(1, share));
      }, 0),
    );
    return [1, ...steps].map((value) => value / seconds);
  });
  const [fixedSeconds = 0, ...increments] = leastPowers(rows);
  let last = 0;
  const seconds = increments.map((more) => {
    last += more;
    return last;
  });
  return { fixedSeconds, slotSeconds: { tokens: points, seconds, tile } };
}

/** Every place where floor and slope may meet is tried: between two they are a sum. */
function fitRoofline(padded: Padded, tile: number, measurements: readonly SlotMeasurement[]): Fit {
  const meetings = [...new Set(padded.flatMap(({ tokens }) => tokens))].sort((a, b) => a - b);
  let best: { readonly fit: Fit; readonly power: number } | undefined;
  for (const meeting of [0, ...meetings]) {
    const rows = padded.map(({ tokens, seconds }) => {
      const onFloor = tokens.filter((at) => at <= meeting).length;
      const above = tokens.reduce((sum, at) => (at > meeting ? sum + at : sum), 0);
      return [1 / seconds, onFloor / seconds, above / seconds];
    });
    const [fixedSeconds = 0, floor = 0, perToken = 0] = leastPowers(rows);
    const fit = { fixedSeconds, slotSeconds: { floor, perToken, tile } };
    const power = powers(errorsOf(fit, measurements));
    if (best === undefined || power < best.power) best = { fit, power };
  }
  return best!.fit;
}

/** An exchange or a transfer: what one rank sends and receives at most, and the seconds it took. */
export interface LinkMeasurement {
  readonly rounds: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** A line through measured transfers. */
export interface LineFit {
  /** Of each round. */
  readonly latencySeconds: number;
  readonly bytesPerSecond: number;
  readonly error: FitError;
}

/**
 * Fits seconds = rounds x latency + bytes / bandwidth; undefined where the time does not grow with the bytes.
 */
export function fitLine(measurements: readonly LinkMeasurement[]): LineFit | undefined {
  const rows = measurements.map(({ rounds, bytes, seconds }) => [rounds / seconds, bytes / seconds]);
  const [latencySeconds = 0, secondsPerByte = 0] = leastPowers(rows);
  if (!(secondsPerByte > 0)) return undefined;
  const errors = measurements.map(({ rounds, bytes, seconds }) =>
    Math.abs((rounds * latencySeconds + bytes * secondsPerByte) / seconds - 1),
  );
  return { latencySeconds, bytesPerSecond: 1 / secondsPerByte, error: summary(errors) };
}

/** What transfers of weights cost beside a link's bandwidth. */
export function moveCostOf(
  { latencySeconds, bytesPerSecond }: LineFit,
  linkBytesPerSecond: number,
): Required<MoveCost> {
  return {
    secondsPerRound: latencySeconds,
    bandwidthShare: Math.min(1, bytesPerSecond / linkBytesPerSecond),
  };
}

function powers(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + error ** 4, 0);
}

function summary(errors: readonly number[]): FitError {
  const sorted = [...errors].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(half)]! + sorted[Math.ceil(half)]!) / 2;
  return { median, worst: sorted.at(-1)! };
}

import type { MoveCost } from './cost-json.ts';
import { leastSquares } from './least-squares.ts';
import { makeSlotCurve, type SlotRoofline, type SlotTable } from './slot-curve.ts';

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

/** A fit of a rank's time to measurements of ranks that have tokens. */
export interface SlotFit {
  readonly fixedSeconds: number;
  readonly slotSeconds: SlotRoofline | SlotTable;
  /** On the measurements that it was fitted to. */
  readonly error: FitError;
  /** Of fits to four fifths of the measurements, on the fifth that each was not fitted to. */
  readonly errorOnOthers: FitError;
}

type Shape = 'roofline' | 'table';

/** Rows of a tile that matrix products work in. 1: none is seen. */
const TILES = [1, 16, 32, 64, 128, 256];
const SHAPES: readonly Shape[] = ['roofline', 'table'];
const NUM_PARTS = 5;
/** Places tried at most where the floor and the slope of a roofline may meet. */
const MOST_MEETINGS = 24;

/**
 * Fits the fixed time and the curve of a slot. Every shape of curve and every tile is fitted to four fifths
 * of the cells and tried on the rest, five times. The one with the least sum of fourth powers of errors
 * is fitted to all. Of equal ones the simpler: a roofline, and the smaller tile.
 *
 * Ranks without tokens are left out: a kernel that has nothing to do starts in less, and the slowest rank,
 * which a layer waits for, has tokens.
 *
 * @param measurements checked: times above 0, at least four of them with tokens
 */
export function fitSlots(measurements: readonly SlotMeasurement[]): SlotFit {
  const fitted = measurements.filter(({ tokensPerSlot }) => tokensPerSlot.some((tokens) => tokens > 0));
  const parts = partsOf(fitted);
  let best: { readonly shape: Shape; readonly tile: number; readonly errors: number[] } | undefined;
  for (const shape of SHAPES) {
    for (const tile of TILES) {
      const errors = parts.flatMap((part) => {
        const others = parts.flatMap((other) => (other === part ? [] : other));
        return errorsOf(fitShape(others, shape, tile), part);
      });
      if (best === undefined || fourthPowers(errors) < fourthPowers(best.errors) * (1 - 1e-9))
        best = { shape, tile, errors };
    }
  }
  const { shape, tile, errors } = best!;
  const fit = fitShape(fitted, shape, tile);
  return { ...fit, error: summary(errorsOf(fit, fitted)), errorOnOthers: summary(errors) };
}

/** Every fifth distinct cell; the same cell measured twice is in one part, or it would tell of itself. */
function partsOf(measurements: readonly SlotMeasurement[]): SlotMeasurement[][] {
  const numbers = new Map<string, number>();
  const parts: SlotMeasurement[][] = Array.from({ length: NUM_PARTS }, () => []);
  for (const one of measurements) {
    const cell = one.tokensPerSlot.join();
    const number = numbers.get(cell) ?? numbers.size;
    numbers.set(cell, number);
    parts[number % NUM_PARTS]!.push(one);
  }
  // All cells alike: there is nothing to try a fit on but themselves.
  return numbers.size === 1 ? [measurements.slice(), measurements.slice()] : parts;
}

/** The error of a rank's time on measurements. */
export function slotError(fit: Fit, measurements: readonly SlotMeasurement[]): FitError {
  return summary(errorsOf(fit, measurements));
}

type Fit = Pick<SlotFit, 'fixedSeconds' | 'slotSeconds'>;

function errorsOf({ fixedSeconds, slotSeconds }: Fit, measurements: readonly SlotMeasurement[]): number[] {
  const curve = makeSlotCurve('slotSeconds', slotSeconds);
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
  const [fixedSeconds = 0, ...increments] = leastSquares(rows);
  let last = 0;
  const seconds = increments.map((more) => {
    last += more;
    return last;
  });
  return { fixedSeconds, slotSeconds: { tokens: points, seconds, tile } };
}

/** Places where floor and slope may meet are tried: between two they are a sum. */
function fitRoofline(padded: Padded, tile: number, measurements: readonly SlotMeasurement[]): Fit {
  const sizes = [...new Set(padded.flatMap(({ tokens }) => tokens))].sort((a, b) => a - b);
  const apart = Math.max(1, sizes.length / MOST_MEETINGS);
  const meetings = sizes.filter((_, i) => Math.floor(i / apart) > Math.floor((i - 1) / apart));
  let best: { readonly fit: Fit; readonly sum: number } | undefined;
  for (const meeting of [0, ...meetings]) {
    const rows = padded.map(({ tokens, seconds }) => {
      const onFloor = tokens.filter((at) => at <= meeting).length;
      const above = tokens.reduce((sum, at) => (at > meeting ? sum + at : sum), 0);
      return [1 / seconds, onFloor / seconds, above / seconds];
    });
    const [fixedSeconds = 0, floor = 0, perToken = 0] = leastSquares(rows);
    const fit = { fixedSeconds, slotSeconds: { floor, perToken, tile } };
    const sum = squares(errorsOf(fit, measurements));
    if (best === undefined || sum < best.sum) best = { fit, sum };
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
  const [latencySeconds = 0, secondsPerByte = 0] = leastSquares(rows);
  if (!(secondsPerByte > 0)) return undefined;
  const errors = measurements.map(({ rounds, bytes, seconds }) =>
    Math.abs((rounds * latencySeconds + bytes * secondsPerByte) / seconds - 1),
  );
  return { latencySeconds, bytesPerSecond: 1 / secondsPerByte, error: summary(errors) };
}

/** What transfers of weights cost beside a link's bandwidth. */
export interface MoveFit {
  readonly moves: Required<MoveCost>;
  /** Of these costs, not of a line that a cost file cannot say. */
  readonly error: FitError;
}

/**
 * Fits what transfers of weights cost beside a link's bandwidth. No transfer is faster than the link: where a
 * line through them is, they have all of its bandwidth, and the start of a round is fitted again.
 *
 * @returns undefined where the time does not grow with the bytes
 */
export function fitMoves(
  measurements: readonly LinkMeasurement[],
  linkBytesPerSecond: number,
): MoveFit | undefined {
  const line = fitLine(measurements);
  if (line === undefined) return undefined;
  const bandwidthShare = Math.min(1, line.bytesPerSecond / linkBytesPerSecond);
  const secondsPerByte = 1 / (linkBytesPerSecond * bandwidthShare);
  const secondsPerRound = bandwidthShare < 1 ? line.latencySeconds : startOf(measurements, secondsPerByte);
  const errors = measurements.map(({ rounds, bytes, seconds }) =>
    Math.abs((rounds * secondsPerRound + bytes * secondsPerByte) / seconds - 1),
  );
  return { moves: { secondsPerRound, bandwidthShare }, error: summary(errors) };
}

/** The start of a round, at least 0, with the least sum of squares of errors at a given bandwidth. */
function startOf(measurements: readonly LinkMeasurement[], secondsPerByte: number): number {
  let product = 0;
  let target = 0;
  for (const { rounds, bytes, seconds } of measurements) {
    product += (rounds / seconds) ** 2;
    target += (rounds / seconds) * (1 - (bytes * secondsPerByte) / seconds);
  }
  return Math.max(0, target / product);
}

/** A wrong tile is wrong by half, but only in few cells: so large errors count most. */
function fourthPowers(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + error ** 4, 0);
}

function squares(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + error ** 2, 0);
}

/** The median and the largest of errors. */
export function summary(errors: readonly number[]): FitError {
  const sorted = [...errors].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(half)]! + sorted[Math.ceil(half)]!) / 2;
  return { median, worst: sorted.at(-1)! };
}

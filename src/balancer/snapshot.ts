import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { BucketContent } from '../loads/sample-buckets.ts';
import type { SampleContent, SampleSizes } from '../loads/sample-memory.ts';
import { numLoadsOf, RowKind, type WindowContent } from '../loads/window-content.ts';
import { sha256 } from '../mapping/snapshot.ts';

import { type GainContent, isGainContent } from './gain-record.ts';

/** What a snapshot can be restored to: a balancer of the same sizes. */
export interface SnapshotSizes {
  readonly topology: Topology;
  readonly windowSize: number;
  /** undefined where the policy plans from no samples. */
  readonly samples: SampleSizes | undefined;
}

/** All that a balancer knows: from recorded steps and commits, and nothing else. */
export interface BalancerContent {
  /** `[layers x physical]` and `[layers x logical x most replicas]`: the live mapping. */
  readonly phyToLog: Int32Array;
  readonly logToPhy: Int32Array;
  /** Whether it is the one that the balancer began with, and whether it was planned. */
  readonly isFirst: boolean;
  readonly isPlanned: boolean;
  /** Steps that were ever recorded, and how many had been when the live mapping was planned. */
  readonly numSteps: number;
  readonly since: number;
  /** What the policy remembers with the live mapping; empty when nothing. */
  readonly memory: Uint8Array;
  readonly gains: GainContent;
  readonly window: WindowContent;
  readonly samples: SampleContent | undefined;
}

const MAGIC = 0x45504c57;
const VERSION = 3;
const DIGEST_BYTES = 32;
const NO_SAMPLES: SampleSizes = { numSingles: 0, stepsPerBucket: 0, numBuckets: 0 };

/**
 * Writes a snapshot: one part after the other, each with its length before it, in the byte order of the
 * machine; and at last the SHA-256 of all that.
 */
export function encodeSnapshot(sizes: SnapshotSizes, content: BalancerContent): Uint8Array {
  const { phyToLog, logToPhy, isFirst, isPlanned, numSteps, since, memory, gains, window, samples } = content;
  const parts: ArrayBufferView[] = [
    Uint32Array.of(MAGIC, VERSION),
    Float64Array.from(numbersOf(sizes)),
    Float64Array.of(
      isFirst ? 1 : 0,
      isPlanned ? 1 : 0,
      numSteps,
      since,
      window.tables.length,
      samples?.older.numSteps ?? 0,
    ),
    phyToLog,
    logToPhy,
    memory,
    gains.numbers,
    gains.finals,
    gains.watch.layers,
    gains.watch.before,
    ...window.tables,
    window.tableOfStep,
    window.kinds,
    window.rows,
    samples?.newest?.means ?? new Float32Array(),
    samples?.older.means ?? new Float32Array(),
    samples?.older.sums ?? new Float64Array(),
  ];
  const chunks = parts.flatMap((part) => [
    new Uint8Array(Float64Array.of(part.byteLength).buffer),
    new Uint8Array(part.buffer, part.byteOffset, part.byteLength),
  ]);
  const body = Buffer.concat(chunks);
  return new Uint8Array(Buffer.concat([body, sha256(body)]));
}

/**
 * Reads what {@link encodeSnapshot} wrote, whole and of these sizes.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_FORMAT` for bytes that are not a snapshot, or a
 * damaged one, `EPLB_SHAPE` for one of other sizes
 */
export function decodeSnapshot(bytes: unknown, sizes: SnapshotSizes): BalancerContent {
  if (!(bytes instanceof Uint8Array))
    throw new EplbTypeError('EPLB_KIND', `snapshot: ${show(bytes)} is not a Uint8Array`);
  const reader = new PartReader(checkedBody(bytes));
  const [magic, version] = reader.take(Uint32Array);
  if (magic !== MAGIC || version !== VERSION) {
    throw formatError('is not one of a balancer, of this version and of a machine with this byte order');
  }
  checkSizes([...reader.take(Float64Array)], sizes);
  const [isFirst, isPlanned, numSteps = 0, since = 0, numTables = 0, numBegun = 0] =
    reader.take(Float64Array);
  const content = {
    phyToLog: reader.take(Int32Array),
    logToPhy: reader.take(Int32Array),
    isFirst: isFirst === 1,
    isPlanned: isPlanned === 1,
    numSteps,
    since,
    memory: reader.take(Uint8Array),
    gains: {
      numbers: reader.take(Float64Array),
      finals: reader.take(Float64Array),
      watch: { layers: reader.take(Float64Array), before: reader.take(Int32Array) },
    },
    window: {
      tables: Array.from({ length: Math.min(numTables, sizes.windowSize) }, () => reader.take(Int32Array)),
      tableOfStep: reader.take(Int32Array),
      kinds: reader.take(Uint8Array),
      rows: reader.take(Float32Array),
    },
  };
  const newest = reader.take(Float32Array);
  const means = reader.take(Float32Array);
  const sums = reader.take(Float64Array);
  const whole = { ...content, samples: samplesOf(sizes, newest, { means, sums, numSteps: numBegun }) };
  if (!isPossible(whole, sizes)) throw formatError('holds what no balancer has');
  return whole;
}

/** @param newest the means of single steps, of which none is begun */
function samplesOf(
  { topology, samples }: SnapshotSizes,
  newest: Float32Array,
  older: BucketContent,
): SampleContent | undefined {
  if (samples === undefined) return undefined;
  if (samples.numSingles === 0) return { newest: undefined, older };
  const sums = new Float64Array(topology.numLayers * topology.numLogicalExperts);
  return { newest: { means: newest, sums, numSteps: 0 }, older };
}

/** The bytes before the digest, when it is theirs. */
function checkedBody(bytes: Uint8Array): Uint8Array {
  const body = bytes.subarray(0, Math.max(0, bytes.length - DIGEST_BYTES));
  const isWhole =
    bytes.length > DIGEST_BYTES && Buffer.compare(sha256(body), bytes.subarray(body.length)) === 0;
  if (isWhole) return body;
  throw formatError(`${bytes.length} bytes are damaged, or none`);
}

function numbersOf({ topology, windowSize, samples }: SnapshotSizes): number[] {
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups } = topology;
  const slots = topology.slotsPerRank ?? [];
  const sizes = [numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups];
  const { numSingles, stepsPerBucket, numBuckets } = samples ?? NO_SAMPLES;
  return [...sizes, windowSize, numSingles, stepsPerBucket, numBuckets, ...slots];
}

function checkSizes(found: readonly number[], sizes: SnapshotSizes): void {
  const wanted = numbersOf(sizes);
  if (found.length === wanted.length && found.every((size, i) => size === wanted[i])) return;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `snapshot: is of a balancer of other sizes: ${found.join(', ')}, not ${wanted.join(', ')}`,
  );
}

/** Whether the numbers are such as a balancer of these sizes can have. Tables are checked as mappings. */
function isPossible(content: BalancerContent, sizes: SnapshotSizes): boolean {
  const { topology, windowSize } = sizes;
  const { numLayers, numPhysicalExperts, numLogicalExperts } = topology;
  const { window, samples, phyToLog, numSteps, since } = content;
  const { tables, tableOfStep, kinds, rows } = window;
  const numSlots = numLayers * numPhysicalExperts;
  const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const isLoad = (value: number) => value >= 0 && value < Number.POSITIVE_INFINITY;
  const step = numLayers * numLogicalExperts;
  const { numSingles, numBuckets } = sizes.samples ?? NO_SAMPLES;
  const areSteps = (means: Float32Array, most: number) =>
    means.length % step === 0 && means.length <= most * step && means.every(isLoad);
  const { PHYSICAL, LOGICAL } = RowKind;
  return (
    isCount(numSteps) &&
    isCount(since) &&
    since <= numSteps &&
    isGainContent(content.gains, topology) &&
    tableOfStep.length <= windowSize &&
    [phyToLog, ...tables].every((table) => table.length === numSlots) &&
    tableOfStep.every((table, i) => table >= (tableOfStep[i - 1] ?? 0) && table < tables.length) &&
    kinds.length === (tableOfStep.length + 1) * numLayers &&
    kinds.every((kind, i) =>
      i < tableOfStep.length * numLayers
        ? kind === PHYSICAL || kind === LOGICAL
        : kind <= (PHYSICAL | LOGICAL),
    ) &&
    rows.length === numLoadsOf(kinds, topology) &&
    rows.every(isLoad) &&
    (samples === undefined ||
      (areSteps(samples.newest?.means ?? new Float32Array(), numSingles) &&
        areSteps(samples.older.means, numBuckets) &&
        samples.older.sums.length === step &&
        samples.older.sums.every(isLoad) &&
        isCount(samples.older.numSteps)))
  );
}

function formatError(why: string): EplbRangeError {
  return new EplbRangeError('EPLB_FORMAT', `snapshot: ${why}`);
}

interface NumbersConstructor<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): T;
}

/** Takes one part after the other. */
class PartReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A copy of the next part. @throws EplbRangeError `EPLB_FORMAT` */
  take<T>(Type: NumbersConstructor<T>): T {
    const [length = 0] = new Float64Array(this.#copy(8));
    if (length % Type.BYTES_PER_ELEMENT !== 0) throw formatError('holds parts of other lengths');
    return new Type(this.#copy(length));
  }

  #copy(length: number): ArrayBuffer {
    const end = this.#at + length;
    if (!(length >= 0 && end <= this.#bytes.length)) throw formatError('ends too soon');
    const copy = new Uint8Array(this.#bytes.subarray(this.#at, end));
    this.#at = end;
    return copy.buffer;
  }
}

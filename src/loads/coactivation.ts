import { checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_SIZE, type Topology } from '../core/topology.ts';
import { plainFloats, typedArrayKind, typedArrayLength } from '../core/typed-arrays.ts';
import { sharedBuffer, zeros } from '../memory/allocate.ts';

/**
 * How often two experts are picked by one token: [layers x logical x logical], row-major, symmetric, finite
 * and >= 0; the diagonal is not read. On a SharedArrayBuffer (as CoactivationRecorder makes it) the workers
 * read it in place.
 */
export interface CoactivationMatrix {
  readonly data: Float32Array;
  readonly numLayers: number;
  readonly numExperts: number;
}

/** Expert ids as an engine or a recording gives them: in floats too, as long as they are whole numbers. */
export type Routes =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** The sizes of a {@link CoactivationRecorder}. */
export interface CoactivationRecorderOptions {
  /** MoE layers. */
  readonly numLayers: number;
  /** Logical experts of a layer. */
  readonly numExperts: number;
}

/**
 * Counts, from recorded routes, how often one token picks each pair of experts. `LocalityAwarePolicy` plans
 * by these counts. The recorder holds layers * experts * experts float32 counts (15 MB for 58 layers of 256
 * experts). A count is exact up to 2 ** 24 tokens, and then stays there.
 * @example
 * ```ts
 * const recorder = new CoactivationRecorder({ numLayers: 2, numExperts: 8 });
 * recorder.record(Uint8Array.of(0, 1, 6, 7), 1, 2); // one token: experts 0 and 1, then 6 and 7
 * const mapping = await balancer.rebalance(undefined, { coactivation: recorder.matrix() });
 * ```
 */
export class CoactivationRecorder {
  readonly numLayers: number;
  readonly numExperts: number;
  /** Of two experts, under the higher one's row only. */
  readonly #counts: Float32Array;

  /**
   * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`, or
   * `EPLB_MEMORY` when it cannot be had
   */
  constructor(options: CoactivationRecorderOptions) {
    const { numLayers, numExperts } = checkOptions('options', options, ['numLayers', 'numExperts']);
    this.numLayers = checkWhole('numLayers', numLayers, 1, MAX_SIZE);
    this.numExperts = checkWhole('numExperts', numExperts, 1, MAX_SIZE);
    this.#counts = allocate(numLayers, numExperts);
  }

  /**
   * Counts the pairs of every token and layer, each pair once a token, in both orders. Blocks the calling
   * thread: about 3 ms for 1,000 tokens of 26 layers and 6 experts.
   *
   * @param routes expert ids [numTokens x layers x topK], row-major; read, not kept
   * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE` naming the token, the layer and the id,
   * `EPLB_SHAPE` when the length is wrong. Nothing is counted then.
   */
  record(routes: Routes, numTokens: number, topK: number): void {
    const ids = this.#read(routes, numTokens, topK);
    const distinct = zeros(`routes: ${topK} experts of a token`, Int32Array, topK);
    const numRows = numTokens * this.numLayers;
    for (let row = 0, start = 0; row < numRows; row++, start += topK) {
      const size = collectDistinct(ids, start, topK, distinct);
      this.#countPairs(row % this.numLayers, distinct, size);
    }
  }

  /**
   * What was counted so far, as a copy on a SharedArrayBuffer: pool workers read it in place, and recording
   * may go on.
   */
  matrix(): CoactivationMatrix {
    const { numLayers, numExperts } = this;
    const data = allocate(numLayers, numExperts);
    data.set(this.#counts);
    for (let layer = 0; layer < numLayers; layer++) mirror(data, layer * numExperts ** 2, numExperts);
    return { data, numLayers, numExperts };
  }

  /** Forgets everything counted. */
  reset(): void {
    this.#counts.fill(0);
  }

  #countPairs(layer: number, distinct: Int32Array, size: number): void {
    const n = this.numExperts;
    const counts = this.#counts;
    const first = layer * n * n;
    for (let i = 1; i < size; i++) {
      const a = distinct[i]!;
      for (let j = 0; j < i; j++) {
        const b = distinct[j]!;
        counts[first + (a > b ? a * n + b : b * n + a)]! += 1;
      }
    }
  }

  /** A checked copy of the ids, each read once: another thread may write what was given. */
  #read(routes: Routes, numTokens: number, topK: number): Int32Array {
    if (!ROUTES.has(typedArrayKind(routes) ?? '')) {
      throw new EplbTypeError('EPLB_KIND', `routes: ${show(routes)} is not a typed array of expert ids`);
    }
    checkWhole('numTokens', numTokens, 0);
    checkWhole('topK', topK, 1, this.numExperts);
    const wanted = numTokens * this.numLayers * topK;
    const length = typedArrayLength(routes);
    if (length !== wanted) {
      const sizes = `${numTokens} tokens x ${this.numLayers} layers x ${topK}`;
      throw new EplbRangeError('EPLB_SHAPE', `routes: has ${length} ids, not ${wanted} (${sizes})`);
    }
    const most = this.numExperts - 1;
    const ids = new Int32Array(wanted);
    for (let i = 0; i < wanted; i++) {
      const id = routes[i]!;
      if (id >= 0 && id <= most && Number.isInteger(id)) {
        ids[i] = id;
        continue;
      }
      const row = Math.floor(i / topK);
      const where = `token ${Math.floor(row / this.numLayers)}, layer ${row % this.numLayers}`;
      throw new EplbRangeError(
        'EPLB_RANGE',
        `routes: ${where}: expert id ${id} is not a whole number from 0 to ${most}`,
      );
    }
    return ids;
  }
}

/** Puts the distinct ids of a token's layer into `distinct` and returns how many there are. */
function collectDistinct(ids: Int32Array, start: number, topK: number, distinct: Int32Array): number {
  let size = 0;
  for (let i = start; i < start + topK; i++) {
    const id = ids[i]!;
    let known = 0;
    while (known < size && distinct[known] !== id) known++;
    distinct[known] = id;
    if (known === size) size++;
  }
  return size;
}

/** Copies what is below the diagonal of a layer's matrix to above it. */
function mirror(data: Float32Array, first: number, n: number): void {
  for (let a = 1; a < n; a++) {
    for (let b = 0; b < a; b++) data[first + b * n + a] = data[first + a * n + b]!;
  }
}

const ROUTES: ReadonlySet<string> = new Set([
  'Uint8Array',
  'Uint16Array',
  'Uint32Array',
  'Int8Array',
  'Int16Array',
  'Int32Array',
  'Float32Array',
  'Float64Array',
]);

function allocate(numLayers: number, numExperts: number): Float32Array<SharedArrayBuffer> {
  const what = `coactivation: a table of ${numLayers} layers of ${numExperts} experts`;
  return new Float32Array(sharedBuffer(what, 4 * numLayers * numExperts ** 2));
}

/**
 * Checks the kind and the shape, each property read once; values are checked where they are read. The result
 * has the same memory.
 *
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`
 */
export function checkCoactivation(
  matrix: CoactivationMatrix,
  { numLayers, numLogicalExperts }: Topology,
): CoactivationMatrix {
  const isObject = typeof matrix === 'object' && matrix !== null;
  const data = isObject ? plainFloats(matrix.data) : undefined;
  if (data === undefined) {
    throw new EplbTypeError('EPLB_KIND', 'coactivation: is not {data: Float32Array, numLayers, numExperts}');
  }
  checkWhole('coactivation.numLayers', matrix.numLayers, numLayers, numLayers, 'EPLB_SHAPE');
  checkWhole(
    'coactivation.numExperts',
    matrix.numExperts,
    numLogicalExperts,
    numLogicalExperts,
    'EPLB_SHAPE',
  );
  const wanted = numLayers * numLogicalExperts ** 2;
  if (data.length !== wanted) {
    throw new EplbRangeError('EPLB_SHAPE', `coactivation.data: has ${data.length} values, not ${wanted}`);
  }
  return { data, numLayers, numExperts: numLogicalExperts };
}

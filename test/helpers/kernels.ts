import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { instantiateKernels, type KernelExports, type Pointer } from '../../src/memory/kernel-exports.ts';
import type { AdaptiveExports } from '../../src/policy/adaptive/kernel-exports.ts';

/** The kernels of the built modules, on a shared memory of their own, of so many pages of 64 KiB. */
export function loadKernels(pages = 64): { kernels: KernelExports & AdaptiveExports; arena: Arena } {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const kernels = instantiateKernels(builtModule('kernels'), memory);
  const adaptive = new WebAssembly.Instance(builtModule('adaptive'), { env: { memory } }).exports;
  return { kernels: { ...kernels, ...(adaptive as unknown as AdaptiveExports) }, arena: new Arena(memory) };
}

function builtModule(name: string): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(new URL(`../../build/${name}.wasm`, import.meta.url)));
}

type Numbers = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array | BigUint64Array;

interface NumbersConstructor<T extends Numbers> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
}

/** A run of numbers in the kernels' memory, `ptr` its byte offset. */
export interface Buffer<T extends Numbers> {
  readonly ptr: Pointer;
  readonly view: T;
}

// A byte that no kernel would write by chance; as a whole word it is not a valid index, count or load either.
// So a kernel that reads what nobody wrote, or leaves a part of its output, gives a result that differs.
const CANARY = 0xa5;

/**
 * Hands out buffers one after the other, each surrounded by bytes that a kernel must leave alone. `check`
 * after a call asserts that those bytes and all inputs are unchanged; `reset` before the next problem frees
 * everything.
 */
export class Arena {
  readonly #bytes: Uint8Array;
  #top = 0;
  /** Byte ranges that must still be all canary. */
  #guards: [start: number, end: number][] = [];
  #inputs: { bytes: Uint8Array; copy: Uint8Array }[] = [];

  constructor(memory: WebAssembly.Memory) {
    this.#bytes = new Uint8Array(memory.buffer);
    this.#bytes.fill(CANARY);
  }

  reset(): void {
    this.#bytes.fill(CANARY, 0, this.#top);
    this.#top = 0;
    this.#guards = [];
    this.#inputs = [];
  }

  /** A buffer that the kernel reads and must not change. */
  input<T extends Numbers>(values: T): Buffer<T> {
    const buffer = this.inOut(values);
    const bytes = new Uint8Array(buffer.view.buffer, buffer.ptr, values.byteLength);
    this.#inputs.push({ bytes, copy: bytes.slice() });
    return buffer;
  }

  /** A buffer that the kernel reads and changes. */
  inOut<T extends Numbers>(values: T): Buffer<T> {
    const type = values.constructor as NumbersConstructor<T>;
    const buffer = this.output(type, values.length);
    new Uint8Array(buffer.view.buffer, buffer.ptr, values.byteLength).set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    );
    return buffer;
  }

  /**
   * A buffer that the kernel fills. It is aligned to its elements only: rows of a matrix are no better
   * aligned.
   */
  output<T extends Numbers>(type: NumbersConstructor<T>, length: number): Buffer<T> {
    const ptr = this.#take(length * type.BYTES_PER_ELEMENT, type.BYTES_PER_ELEMENT);
    return { ptr, view: new type(this.#bytes.buffer, ptr, length) };
  }

  /** Working space for a kernel. */
  scratch(numBytes: number): Pointer {
    return this.#take(numBytes, 16);
  }

  /**
   * How many of the bytes from `start` on were written, up to the last one that was: a canary that is written
   * as such is not seen.
   */
  numWritten(start: Pointer, numBytes: number): number {
    let end = numBytes;
    while (end > 0 && this.#bytes[start + end - 1] === CANARY) end--;
    return end;
  }

  check(): void {
    for (const [start, end] of this.#guards) {
      for (let at = start; at < end; at++) {
        if (this.#bytes[at] !== CANARY) assert.fail(`byte ${at} between two buffers was written`);
      }
    }
    for (const { bytes, copy } of this.#inputs) assert.deepEqual(bytes.slice(), copy, 'an input was changed');
  }

  #take(numBytes: number, alignment: number): number {
    const start = Math.ceil((this.#top + GUARD_BYTES) / alignment) * alignment;
    const end = start + numBytes + GUARD_BYTES;
    assert.ok(end <= this.#bytes.length, 'the test needs a larger arena');
    this.#guards.push([this.#top, start], [start + numBytes, end]);
    this.#top = end;
    return start;
  }
}

// More than a 16-byte vector, and not a multiple of 16, so that vectors past an end are seen and pointers are
// of every alignment that their elements allow.
const GUARD_BYTES = 36;

/** Same bits: unlike `===`, tells -0 from 0, and unlike `deepEqual` is quick enough for thousands of rows. */
export function assertSameNumbers(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let i = 0; i < expected.length; i++) {
    if (!Object.is(actual[i], expected[i])) {
      assert.fail(`${what}: at ${i} got ${actual[i]}, not ${expected[i]}`);
    }
  }
}

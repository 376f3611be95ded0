import { EplbRangeError } from '../errors.ts';
import { MAX_MEMORY_PAGES, PAGE_BYTES } from './constants.ts';
import { instantiateKernels, type KernelExports, type WasmMemory } from './kernel-exports.ts';
import { kernelModule } from './kernel-module.ts';

/** A kernel memory and an instance of the kernels on it. */
export interface KernelMemory {
  readonly memory: WasmMemory;
  readonly kernels: KernelExports;
}

/**
 * Makes a shared memory of at least `bytes` with an instance of the kernels.
 *
 * @param what names in the message what the memory is for
 * @throws EplbRangeError `EPLB_MEMORY`, saying how much is needed
 */
export function createKernelMemory(bytes: number, what: string): KernelMemory {
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  const needed = `${what} needs ${Math.ceil(bytes / 2 ** 20)} MiB of shared memory`;
  if (pages > MAX_MEMORY_PAGES) {
    throw new EplbRangeError('EPLB_MEMORY', `${needed}; at most ${MAX_MEMORY_PAGES / 16} MiB can be had`);
  }
  let memory: WasmMemory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    throw new EplbRangeError('EPLB_MEMORY', `${needed}, which this process cannot get: ${String(error)}`);
  }
  return { memory, kernels: instantiateKernels(kernelModule(), memory) };
}

let inlineMemory: WasmMemory | undefined;
let inlineKernels: KernelExports | undefined;

/**
 * The calling thread's own memory for work that is done inline, at least `bytes` large. Nothing in it outlives the
 * call it was asked for; views on it are to be made anew each time, since it may have grown.
 */
export function inlineKernelMemory(bytes: number, what: string): KernelMemory {
  inlineMemory ??= new WebAssembly.Memory({ initial: 1, maximum: MAX_MEMORY_PAGES, shared: true });
  inlineKernels ??= instantiateKernels(kernelModule(), inlineMemory);
  const missing = Math.ceil((bytes - inlineMemory.buffer.byteLength) / PAGE_BYTES);
  if (missing > 0) {
    try {
      inlineMemory.grow(missing);
    } catch {
      const needed = `${what} needs ${Math.ceil(bytes / 2 ** 20)} MiB of memory`;
      throw new EplbRangeError('EPLB_MEMORY', `${needed}, which cannot be had`);
    }
  }
  return { memory: inlineMemory, kernels: inlineKernels };
}

import { instantiateKernels, type KernelSizes, type WasmMemory } from './kernel-exports.ts';
import { kernelModule } from './kernel-module.ts';
import { type ArenaStatistics, type KernelRegion, MemoryArena } from './memory-arena.ts';
import { checkWebAssembly } from './memory-errors.ts';

/** Where everything lies in a region, as byte offsets into its memory. */
export interface RegionLayout {
  /** Where the next thing would begin: the size of the region follows from it. */
  readonly end: number;
  /** From here on nothing is read before it is written, and need not be zeros; all is zeros when left out. */
  readonly zeroedEnd?: number;
}

/** A region of the thread's kernel memory, and where everything lies in it. */
export interface LaidOutRegion<Layout> {
  readonly region: KernelRegion;
  readonly layout: Layout;
}

let arena: MemoryArena | undefined;

/**
 * Leases a region of the calling thread's kernel memory, of zeros, which other threads may be given. Whoever
 * keeps the layout or views on the region keeps the region too: it is given back when it is unreachable.
 *
 * @param what names in the message what it is for
 * @param carve lays it out from an offset on; called twice, with the same result but for that offset
 * @throws EplbRangeError `EPLB_MEMORY`, saying how much is needed
 */
export function leaseKernelMemory<Layout extends RegionLayout>(
  what: string,
  carve: (start: number) => Layout,
): LaidOutRegion<Layout> {
  const { end, zeroedEnd = end } = carve(0);
  const region = threadArena().lease(end, what, zeroedEnd);
  return { region, layout: carve(region.start) };
}

/**
 * The calling thread's kernel memory for work that is done inline. It may hold anything, and nothing in it
 * outlives the call that it was asked for.
 *
 * @param what and `carve`: as for {@link leaseKernelMemory}
 * @throws EplbRangeError `EPLB_MEMORY`
 */
export function inlineKernelMemory<Layout extends RegionLayout>(
  what: string,
  carve: (start: number) => Layout,
): LaidOutRegion<Layout> {
  const region = threadArena().scratch(carve(0).end, what);
  return { region, layout: carve(region.start) };
}

/**
 * What the kernels say of sizes: in the calling thread, before anything is leased.
 * @throws EplbRangeError `EPLB_MEMORY`
 */
export function kernelSizes(): KernelSizes {
  return threadArena().kernels;
}

/** What the calling thread's kernel memory is used for. */
export function kernelMemoryStatistics(): ArenaStatistics {
  return threadArena().statistics;
}

function threadArena(): MemoryArena {
  if (arena === undefined) checkWebAssembly();
  arena ??= new MemoryArena({
    makeMemory: (initial, maximum) =>
      new WebAssembly.Memory({ initial, maximum, shared: true }) as unknown as WasmMemory,
    instantiate: (memory) => instantiateKernels(kernelModule(), memory),
  });
  return arena;
}

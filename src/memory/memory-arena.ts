import { alignUp } from './carver.ts';
import { MAX_MEMORY_PAGES, PAGE_BYTES } from './constants.ts';
import { FreeRegions } from './free-regions.ts';
import type { KernelExports, WasmMemory } from './kernel-exports.ts';
import { addressSpaceError, reachError, shortageError } from './memory-errors.ts';

/** Regions begin on a cache line, so that threads share none by accident. */
const ALIGNMENT = 64;

/** The last page is left out: the end of a region is to be a 32-bit offset too. */
const MOST_PAGES = MAX_MEMORY_PAGES - 1;

/**
 * A piece of kernel memory that is leased. It is given back when this object is unreachable: so whoever keeps
 * offsets into the region, or views on it, keeps this too.
 */
export class KernelRegion {
  readonly memory: WasmMemory;
  readonly kernels: KernelExports;
  /**
   * The memory's buffer, at least up to the end of the region: a memory that grows gets a new one, and this
   * stays valid.
   */
  readonly buffer: ArrayBufferLike;
  /** Byte offsets into the memory. */
  readonly start: number;
  readonly end: number;

  constructor({ memory, kernels }: ArenaMemory, start: number, bytes: number) {
    this.memory = memory;
    this.kernels = kernels;
    this.buffer = memory.buffer;
    this.start = start;
    this.end = start + bytes;
  }
}

/** What an arena makes its memories by, and how far each may grow. */
export interface ArenaParts {
  /** A shared memory of so many pages that may grow to `mostPages`. @throws RangeError */
  readonly makeMemory: (pages: number, mostPages: number) => WasmMemory;
  readonly instantiate: (memory: WasmMemory) => KernelExports;
  readonly mostPages?: number;
}

/** What an arena holds. */
export interface ArenaStatistics {
  readonly memories: number;
  /** Of all memories together. */
  readonly bytes: number;
  readonly freeBytes: number;
  readonly freeRegions: number;
  /** Without the scratch. */
  readonly leases: number;
}

/**
 * Leases regions of as few WebAssembly memories as can be: each reserves some 10 GB of address space,
 * whatever its size. One thread uses an arena, and nothing else grows its memories; what is in a region any
 * thread may read and write.
 */
export class MemoryArena {
  readonly #parts: ArenaParts;
  readonly #mostPages: number;
  readonly #leases = new Set<Lease>();
  readonly #collected = new FinalizationRegistry<Lease>((lease) => this.#giveBack(lease));
  #memories: ArenaMemory[] = [];
  #scratch: { readonly home: ArenaMemory; readonly region: KernelRegion } | undefined;

  constructor(parts: ArenaParts) {
    this.#parts = parts;
    this.#mostPages = parts.mostPages ?? MOST_PAGES;
  }

  /**
   * Leases `bytes` until the result is unreachable: the lowest that are free, else new ones at the end of a
   * memory, else of a new memory.
   *
   * @param what names in the message what they are for
   * @param zeroedBytes how many of them, from the first on, are to be zeros: what was never leased is so, and
   * is not touched
   * @throws EplbRangeError `EPLB_MEMORY`
   */
  lease(bytes: number, what: string, zeroedBytes = bytes): KernelRegion {
    const { home, start, size } = this.#place(bytes, what);
    home.clear(start, zeroedBytes);
    home.use(start + size);
    const region = new KernelRegion(home, start, bytes);
    const lease = { home, start, end: start + size, holder: new WeakRef(region) };
    this.#leases.add(lease);
    this.#collected.register(region, lease, lease);
    return region;
  }

  /**
   * At least `bytes` for the one call that asks for them, which may hold anything.
   * @throws as {@link lease}
   */
  scratch(bytes: number, what: string): KernelRegion {
    if (this.#scratch !== undefined && bytes <= this.#scratch.region.end - this.#scratch.region.start) {
      return this.#scratch.region;
    }
    this.#dropScratch();
    const { home, start, size } = this.#place(bytes, what);
    home.use(start + size);
    const region = new KernelRegion(home, start, size);
    this.#scratch = { home, region };
    return region;
  }

  /**
   * The kernels of a memory: the first one, which is made when there is none, and is leased from later.
   * @throws as {@link lease}
   */
  get kernels(): KernelExports {
    const home =
      this.#memories[0] ?? this.#addMemory(PAGE_BYTES, "the kernels' memory", PAGE_BYTES, undefined);
    return home.kernels;
  }

  get statistics(): ArenaStatistics {
    const sum = (of: (memory: ArenaMemory) => number) =>
      this.#memories.reduce((total, memory) => total + of(memory), 0);
    return {
      memories: this.#memories.length,
      bytes: sum(({ memory }) => memory.buffer.byteLength),
      freeBytes: sum(({ free }) => free.bytes),
      freeRegions: sum(({ free }) => free.numRegions),
      leases: this.#leases.size,
    };
  }

  #place(bytes: number, what: string): Place {
    const size = alignUp(Math.max(bytes, 1), ALIGNMENT);
    if (size > this.#mostPages * PAGE_BYTES) throw reachError(what, bytes);
    try {
      return this.#find(size, what, bytes);
    } catch (error) {
      // A memory that cannot be made has had the garbage collected: what nobody holds any more is known by
      // now.
      if (!this.#giveBackCollected()) throw error;
      return this.#find(size, what, bytes);
    }
  }

  #find(size: number, what: string, bytes: number): Place {
    for (const home of this.#memories) {
      const start = home.free.take(size);
      if (start !== undefined) return { home, start, size };
    }
    let shortage: unknown;
    for (const home of this.#memories) {
      try {
        if (home.grow(size, this.#mostPages)) return { home, start: home.free.take(size)!, size };
      } catch (error) {
        shortage = error;
      }
    }
    const home = this.#addMemory(size, what, bytes, shortage);
    return { home, start: home.free.take(size)!, size };
  }

  /** @param shortage what was thrown where a memory did not grow */
  #addMemory(size: number, what: string, bytes: number, shortage: unknown): ArenaMemory {
    const pages = Math.ceil(size / PAGE_BYTES);
    let memory: WasmMemory;
    try {
      memory = this.#parts.makeMemory(pages, this.#mostPages);
    } catch (error) {
      if (shortage !== undefined) throw shortageError(what, bytes, shortage);
      throw this.#canReserve() ? shortageError(what, bytes, error) : addressSpaceError(what, bytes, error);
    }
    const home = new ArenaMemory(memory, this.#parts.instantiate(memory));
    this.#memories.push(home);
    return home;
  }

  /** Whether a memory without any content can be made. */
  #canReserve(): boolean {
    try {
      this.#parts.makeMemory(0, this.#mostPages);
      return true;
    } catch {
      return false;
    }
  }

  /** @returns whether any region was given back */
  #giveBackCollected(): boolean {
    const collected = [...this.#leases].filter(({ holder }) => holder.deref() === undefined);
    for (const lease of collected) {
      this.#collected.unregister(lease);
      this.#giveBack(lease);
    }
    return collected.length > 0;
  }

  #giveBack(lease: Lease): void {
    if (!this.#leases.delete(lease)) return;
    lease.home.free.give(lease.start, lease.end);
    if (![...this.#leases].some(({ home }) => home === lease.home)) this.#letGo(lease.home);
  }

  /**
   * A memory without leases goes, since the pages that were written in it would stay with the process as long
   * as it does.
   */
  #letGo(home: ArenaMemory): void {
    if (this.#scratch?.home === home) this.#scratch = undefined;
    this.#memories = this.#memories.filter((memory) => memory !== home);
  }

  #dropScratch(): void {
    if (this.#scratch === undefined) return;
    const { home, region } = this.#scratch;
    this.#scratch = undefined;
    home.free.give(region.start, region.end);
  }
}

interface Place {
  readonly home: ArenaMemory;
  readonly start: number;
  readonly size: number;
}

interface Lease {
  readonly home: ArenaMemory;
  readonly start: number;
  readonly end: number;
  readonly holder: WeakRef<KernelRegion>;
}

/** A memory of an arena. */
class ArenaMemory {
  readonly memory: WasmMemory;
  readonly kernels: KernelExports;
  readonly free = new FreeRegions();
  /** Up to here bytes have been leased, and may be other than 0. */
  #usedEnd = 0;

  constructor(memory: WasmMemory, kernels: KernelExports) {
    this.memory = memory;
    this.kernels = kernels;
    this.free.give(0, memory.buffer.byteLength);
  }

  /**
   * Grows until `size` bytes are free at the end.
   *
   * @returns false when that is more than `mostPages`
   * @throws RangeError when the system has no more
   */
  grow(size: number, mostPages: number): boolean {
    const { byteLength } = this.memory.buffer;
    const end = alignUp(this.free.tailBefore(byteLength) + size, PAGE_BYTES);
    if (end > mostPages * PAGE_BYTES) return false;
    this.memory.grow((end - byteLength) / PAGE_BYTES);
    this.free.give(byteLength, end);
    return true;
  }

  /** Makes zeros of what may be other than that. */
  clear(start: number, bytes: number): void {
    const end = Math.min(start + bytes, this.#usedEnd);
    if (end > start) this.kernels.clearBytes(start, end - start);
  }

  /** Notes that the bytes up to `end` are leased. */
  use(end: number): void {
    this.#usedEnd = Math.max(this.#usedEnd, end);
  }
}

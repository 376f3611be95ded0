import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { FreeRegions } from '../../src/memory/free-regions.ts';
import { instantiateKernels, type WasmMemory } from '../../src/memory/kernel-exports.ts';
import { type ArenaParts, type KernelRegion, MemoryArena } from '../../src/memory/memory-arena.ts';
import { collectAll, untilCollected } from '../helpers/collect.ts';
import { SEED } from '../helpers/library.ts';

const PAGE = 65_536;
const module = new WebAssembly.Module(readFileSync(new URL('../../build/kernels.wasm', import.meta.url)));

/** An arena whose memories grow to so many pages; `made` counts them. */
function arenaOf(mostPages: number, makeMemory: ArenaParts['makeMemory'] = newMemory) {
  const made: number[] = [];
  const arena = new MemoryArena({
    mostPages,
    makeMemory: (pages, most) => {
      made.push(pages);
      return makeMemory(pages, most);
    },
    instantiate: (memory) => instantiateKernels(module, memory),
  });
  return { arena, made };
}

function newMemory(initial: number, maximum: number): WasmMemory {
  return new WebAssembly.Memory({ initial, maximum, shared: true });
}

const bytesOf = (region: KernelRegion) =>
  new Uint8Array(region.buffer, region.start, region.end - region.start);

test('free regions: the lowest that fits, joined with neighbours, as a map of bytes has it', () => {
  const SIZE = 64;
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 12 }) }),
    fc.record({ give: fc.nat({ max: 20 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const free = new FreeRegions();
      free.give(0, SIZE / 2);
      free.give(SIZE / 2, SIZE);
      const isFree = new Array<boolean>(SIZE).fill(true);
      const taken: { start: number; end: number }[] = [];
      for (const next of steps) {
        if ('take' in next) {
          const expected = isFree.findIndex((_, at) => allFree(isFree, at, next.take));
          const start = free.take(next.take);
          assert.equal(start ?? -1, expected);
          if (start === undefined) continue;
          isFree.fill(false, start, start + next.take);
          taken.push({ start, end: start + next.take });
        } else if (taken.length > 0) {
          const [{ start, end }] = taken.splice(next.give % taken.length, 1) as [
            { start: number; end: number },
          ];
          free.give(start, end);
          isFree.fill(true, start, end);
        }
        assert.equal(free.bytes, isFree.filter(Boolean).length);
        assert.equal(free.numRegions, isFree.filter((now, at) => now && !isFree[at - 1]).length);
        assert.equal(free.tailBefore(SIZE), isFree.lastIndexOf(false) + 1);
      }
    }),
    { numRuns: 500, seed: SEED },
  );
});

function allFree(isFree: readonly boolean[], at: number, length: number): boolean {
  const wanted = isFree.slice(at, at + length);
  return wanted.length === length && wanted.every(Boolean);
}

/** What an arena is to do, in the plainest terms: memories as lists of what is leased in them. */
class ArenaModel {
  memories: { pages: number; leases: { start: number; end: number }[] }[] = [];
  readonly #mostPages: number;

  constructor(mostPages: number) {
    this.#mostPages = mostPages;
  }

  /** Where the next region goes. */
  lease(bytes: number): { memory: number; start: number } {
    const size = Math.ceil(bytes / 64) * 64;
    for (const [memory, { pages, leases }] of this.memories.entries()) {
      const start = this.#lowest(leases, size);
      if (start + size <= pages * PAGE) return this.#put(memory, start, size);
    }
    for (const [memory, home] of this.memories.entries()) {
      const start = Math.max(0, ...home.leases.map(({ end }) => end));
      const pages = Math.ceil((start + size) / PAGE);
      if (pages > this.#mostPages) continue;
      home.pages = pages;
      return this.#put(memory, start, size);
    }
    this.memories.push({ pages: Math.ceil(size / PAGE), leases: [] });
    return this.#put(this.memories.length - 1, 0, size);
  }

  release(memory: { readonly leases: unknown[] }, start: number): void {
    const leases = memory.leases as { start: number }[];
    leases.splice(
      leases.findIndex((lease) => lease.start === start),
      1,
    );
  }

  /** Memories without leases are let go. */
  letGo(): void {
    this.memories = this.memories.filter(({ leases }) => leases.length > 0);
  }

  get statistics() {
    const gaps = this.memories.flatMap(({ pages, leases }) => {
      const ends = [0, ...leases.map(({ end }) => end)];
      const starts = [...leases.map(({ start }) => start), pages * PAGE];
      return starts.map((start, i) => start - ends[i]!).filter((gap) => gap > 0);
    });
    return {
      memories: this.memories.length,
      bytes: this.memories.reduce((sum, { pages }) => sum + pages * PAGE, 0),
      freeBytes: gaps.reduce((sum, gap) => sum + gap, 0),
      freeRegions: gaps.length,
      leases: this.memories.reduce((sum, { leases }) => sum + leases.length, 0),
    };
  }

  /** The lowest gap that is large enough; the last one has no end. */
  #lowest(leases: readonly { start: number; end: number }[], size: number): number {
    let at = 0;
    for (const { start, end } of leases) {
      if (start - at >= size) return at;
      at = end;
    }
    return at;
  }

  #put(memory: number, start: number, size: number): { memory: number; start: number } {
    const { leases } = this.memories[memory]!;
    leases.push({ start, end: start + size });
    leases.sort((a, b) => a.start - b.start);
    return { memory, start };
  }
}

/**
 * An arena beside its model. No function of it waits, so that none keeps a region by chance that it has let
 * go.
 */
class ArenaRun {
  readonly arena: MemoryArena;
  readonly #model: ArenaModel;
  #held: { region: KernelRegion; home: ArenaModel['memories'][number]; mark: number }[] = [];
  #mark = 0;

  constructor(mostPages: number) {
    this.arena = arenaOf(mostPages).arena;
    this.#model = new ArenaModel(mostPages);
  }

  get numHeld(): number {
    return this.#held.length;
  }

  lease(bytes: number): void {
    const expected = this.#model.lease(bytes);
    const region = this.arena.lease(bytes, 'a test');
    assert.equal(region.start, expected.start);
    assert.equal(region.start % 64, 0);
    assert.equal(region.end - region.start, bytes);
    assert.ok(bytesOf(region).every((byte) => byte === 0));
    this.#mark = (this.#mark % 255) + 1;
    bytesOf(region).fill(this.#mark);
    this.#held.push({ region, home: this.#model.memories[expected.memory]!, mark: this.#mark });
  }

  release(isKept: readonly boolean[]): void {
    for (const [i, { region, home }] of this.#held.entries()) {
      if (!isKept[i % isKept.length]) this.#model.release(home, region.start);
    }
    this.#held = this.#held.filter((_, i) => isKept[i % isKept.length]);
    this.#model.letGo();
  }

  check(): void {
    assert.deepEqual(this.arena.statistics, this.#model.statistics);
    for (const { region, mark } of this.#held) assert.ok(bytesOf(region).every((byte) => byte === mark));
  }
}

test('an arena leases and takes back as its model: lowest offset first, aligned, zeros', async () => {
  const sizes = fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 2 * PAGE }));
  const round = fc.record({
    leases: fc.array(sizes, { minLength: 1, maxLength: 8 }),
    isKept: fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 3 }), async (rounds) => {
      const run = new ArenaRun(4);
      for (const { leases, isKept } of rounds) {
        for (const bytes of leases) run.lease(bytes);
        run.check();
        run.release(isKept);
        await untilCollected(() => run.arena.statistics.leases === run.numHeld);
        run.check();
      }
    }),
    { numRuns: 16, seed: SEED },
  );
});

test('a region stays leased as long as it is held, whatever is collected', async () => {
  const { arena } = arenaOf(4);
  const held = arena.lease(1000, 'a test');
  bytesOf(held).fill(7);
  arena.lease(1000, 'a test');
  await untilCollected(() => arena.statistics.leases === 1);
  await collectAll();
  assert.equal(arena.statistics.leases, 1);
  assert.ok(bytesOf(held).every((byte) => byte === 7));
});

test('what was promised to be zeros is, and nothing else is touched', async () => {
  const { arena } = arenaOf(4);
  const keeper = arena.lease(64, 'a test');
  const written = () => bytesOf(arena.lease(4096, 'a test')).fill(9);
  written();
  await untilCollected(() => arena.statistics.leases === 1);
  const again = arena.lease(8192, 'a test', 1024);
  assert.equal(again.start, keeper.end);
  const bytes = bytesOf(again);
  assert.ok(bytes.subarray(0, 1024).every((byte) => byte === 0));
  assert.ok(bytes.subarray(1024, 4096).every((byte) => byte === 9));
  assert.ok(bytes.subarray(4096).every((byte) => byte === 0));
});

test('the scratch is one region, replaced by a larger one where that is needed, and never in a lease', () => {
  const { arena, made } = arenaOf(8);
  const small = arena.scratch(100, 'a test');
  assert.equal(arena.scratch(50, 'a test'), small);
  const lease = arena.lease(1000, 'a test');
  bytesOf(lease).fill(3);
  const larger = arena.scratch(3 * PAGE, 'a test');
  assert.equal(larger.start, lease.end + (64 - (lease.end % 64)));
  bytesOf(larger).fill(5);
  assert.ok(bytesOf(lease).every((byte) => byte === 3));
  assert.equal(arena.scratch(100, 'a test'), larger);
  // At the end of the memory it grows where it is; what the small one had is free.
  assert.equal(arena.scratch(4 * PAGE, 'a test').start, larger.start);
  assert.equal(arena.lease(100, 'a test').start, 0);
  assert.equal(arena.statistics.leases, 2);
  assert.equal(made.length, 1);
});

test('a memory without leases is let go, and the scratch with it', async () => {
  const { arena, made } = arenaOf(4);
  arena.scratch(100, 'a test');
  arena.lease(PAGE, 'a test');
  assert.equal(arena.statistics.memories, 1);
  await untilCollected(() => arena.statistics.leases === 0);
  assert.deepEqual(arena.statistics, { memories: 0, bytes: 0, freeBytes: 0, freeRegions: 0, leases: 0 });
  assert.equal(arena.scratch(100, 'a test').start, 0);
  assert.equal(made.length, 2);
});

const refused = (message: RegExp) => ({ name: 'EplbRangeError', code: 'EPLB_MEMORY', message });

test('a region beyond the reach of offsets is refused, and nothing is made for it', () => {
  const { arena, made } = arenaOf(65_535);
  const most = 65_535 * PAGE;
  for (const bytes of [most + 1, 2 ** 40, Number.POSITIVE_INFINITY]) {
    assert.throws(() => arena.lease(bytes, 'a test'), refused(/^a test needs .* MiB .* 4096 MiB .*offsets/));
    assert.throws(
      () => arena.scratch(bytes, 'a test'),
      refused(/^a test needs .* MiB .* 4096 MiB .*offsets/),
    );
  }
  assert.deepEqual(made, []);
  assert.equal(arena.lease(most, 'a test').end, most);
});

test('where no memory can be made, address space is named; where one cannot grow, memory', () => {
  const none = () => {
    throw new RangeError('WebAssembly.Memory(): could not allocate memory');
  };
  const { arena: poor } = arenaOf(4, none);
  assert.throws(() => poor.lease(100, 'a test'), refused(/^a test needs 1 MiB .*address space.*ulimit -v/));
  assert.throws(() => poor.scratch(100, 'a test'), refused(/address space/));
  assert.equal(poor.statistics.memories, 0);

  const short: ArenaParts['makeMemory'] = (pages, most) => (pages > 1 ? none() : newMemory(pages, most));
  const { arena: empty } = arenaOf(4, short);
  assert.throws(() => empty.lease(2 * PAGE, 'a test'), refused(/^a test needs 1 MiB .*no more memory/));

  const { arena: full } = arenaOf(4, (pages) => (pages > 1 ? none() : newMemory(pages, 1)));
  const held = full.lease(100, 'a test');
  assert.throws(() => full.lease(2 * PAGE, 'a test'), refused(/^a test needs 1 MiB .*no more memory/));
  assert.equal(full.lease(100, 'a test').start, held.end + 28);
});

test('a region that no memory of a full arena has gets one of its own', () => {
  const { arena, made } = arenaOf(2);
  const first = arena.lease(PAGE, 'a test');
  const second = arena.lease(2 * PAGE, 'a test');
  const third = arena.lease(PAGE, 'a test');
  assert.notEqual(second.memory, first.memory);
  assert.equal(third.memory, first.memory);
  assert.deepEqual(made, [1, 2]);
});

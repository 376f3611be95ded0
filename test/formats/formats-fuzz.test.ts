/**
 * Hostile files: every reader of loads on mutations of good files. FORMATS_FUZZ_CASES sets how many; the long
 * run is `FORMATS_FUZZ_CASES=100000 node --import tsx --test test/formats-fuzz.test.ts`.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { inputBytes } from '../../src/formats/input-file.ts';
import { fallbackFormat, LOAD_FORMATS, recogniseLoads } from '../../src/formats/loads/registry.ts';
import { openFiles } from '../../src/formats/open.ts';
import { fixture } from '../helpers/fixtures.ts';
import { countingAllocations, mutated, mutations, withChecksums } from '../helpers/fuzz.ts';
import { isEplbError } from '../helpers/recording.ts';

const CASES = Number(process.env.FORMATS_FUZZ_CASES ?? 2000);
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

/**
 * What one file may cost: of the processor, as others may keep the machine busy, and of memory, added up over
 * the case.
 */
const MOST_CPU_MS = 2000;
const MOST_BYTES = 2 ** 21;
const MOST_BYTES_PER_BYTE = 256;

function mostly<T>(usual: undefined, other: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ arbitrary: fc.constant(usual), weight: 6 }, { arbitrary: other, weight: 1 });
}

interface Seed {
  readonly path: string;
  readonly bytes: Buffer;
  /** The other files of its recording. */
  readonly mates: readonly string[];
}

const TOGETHER = /^(sglang-per|tensorrt-llm|msit-csv|omni-infer|megatron)/;

function seeds(folder: string): Seed[] {
  const names = readdirSync(folder).map((name) => join(folder, name));
  const files = names.filter((name) => statSync(name).isFile());
  const isTogether = TOGETHER.test(relative(fixture('.'), folder));
  return [
    ...files.map((path) => ({
      path,
      bytes: readFileSync(path),
      mates: isTogether ? files.filter((other) => other !== path) : [],
    })),
    ...names.filter((name) => statSync(name).isDirectory()).flatMap(seeds),
  ];
}

const ALL = seeds(fixture('.'));

/** Opens files as the command does and reads every step; what ends it is an error of ours or nothing. */
async function readAll(
  seed: Seed,
  bytes: Buffer,
  format: string | undefined,
  numExperts: number | undefined,
) {
  const first = inputBytes(bytes, basename(seed.path), 'recording');
  const mates = seed.mates.map((path) => inputBytes(readFileSync(path), basename(path), 'recording'));
  const named = LOAD_FORMATS.find(({ name }) => name === format);
  const chosen = named ?? (await recogniseLoads(first)) ?? fallbackFormat(first);
  const files = [first, ...mates].sort((a, b) => (a.path < b.path ? -1 : 1));
  const recording = await openFiles(files, chosen, { numExperts });
  const { numLayers, numLogicalExperts } = recording;
  assert.ok(numLayers >= 1 && numLogicalExperts >= 1);
  for await (const { loads } of recording.steps()) {
    assert.equal(loads.length, numLayers * numLogicalExperts);
    for (const load of loads) assert.ok(load >= 0 && load < Number.POSITIVE_INFINITY);
  }
  await recording.close();
}

describe('hostile files', () => {
  test('every format has good files to start from', async () => {
    const found = new Set<string>();
    for (const { path, bytes } of ALL) {
      found.add((await recogniseLoads(inputBytes(bytes, basename(path), 'recording')))?.name ?? '');
    }
    assert.deepEqual(
      LOAD_FORMATS.map(({ name }) => name).filter((name) => !found.has(name)),
      [],
    );
  });

  test(`${CASES} mutated files end in a result or an error with a code, in time and memory`, async () => {
    const outcomes = new Map<string, number>();
    const most = { cpuMs: 0, allocatedBytes: 0, bytesPerByte: 0 };
    const problem = fc.record({
      seed: fc.nat(ALL.length - 1),
      changes: mutations,
      // Or else the checksum tells all changes of what an archive holds.
      hasChecksums: fc.boolean(),
      // Mostly as they are recognised; now and then by a reader of another format.
      format: mostly(undefined, fc.constantFrom(...LOAD_FORMATS.map(({ name }) => name))),
      numExperts: mostly(undefined, fc.constantFrom(2, 8, 65_536)),
    });
    await fc.assert(
      fc.asyncProperty(problem, async ({ seed, changes, hasChecksums, format, numExperts }) => {
        const { path } = ALL[seed]!;
        const changed = mutated(ALL[seed]!.bytes, changes);
        const bytes = hasChecksums ? withChecksums(changed) : changed;
        const about = `${basename(dirname(path))}/${basename(path)}`;
        const before = process.cpuUsage();
        let outcome = 'read';
        const allocated = await countingAllocations(async () => {
          try {
            await readAll(ALL[seed]!, bytes, format, numExperts);
          } catch (error) {
            if (!isEplbError(error)) throw error;
            assert.ok(!error.message.includes('\n') && error.message.length < 1000, error.message);
            outcome = error.code;
          }
        });
        const { user, system } = process.cpuUsage(before);
        const cpuMs = (user + system) / 1000;
        assert.ok(cpuMs < MOST_CPU_MS, `${about} took ${cpuMs} ms`);
        assert.ok(
          allocated < MOST_BYTES + MOST_BYTES_PER_BYTE * bytes.length,
          `${about} took ${allocated} bytes`,
        );
        assert.ok(outcome !== 'EPLB_INTERNAL', about);
        most.cpuMs = Math.max(most.cpuMs, cpuMs);
        most.allocatedBytes = Math.max(most.allocatedBytes, allocated);
        most.bytesPerByte = Math.max(most.bytesPerByte, allocated / Math.max(1, bytes.length));
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }),
      { numRuns: CASES, seed: SEED },
    );
    // Not all of them break: what is read and what is refused are both tried.
    assert.ok((outcomes.get('read') ?? 0) > CASES / 50, JSON.stringify([...outcomes]));
    assert.ok((outcomes.get('EPLB_FORMAT') ?? 0) > CASES / 50, JSON.stringify([...outcomes]));
    if (process.env.FORMATS_FUZZ_CASES !== undefined) console.log(Object.fromEntries(outcomes), most);
  });
});

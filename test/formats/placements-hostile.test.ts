import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { EplbError, EplbRangeError, EplbTypeError, ExpertMapping } from 'expert-load-balancer';
import {
  FORMATS,
  parsePlacement,
  placementFrom,
  validatePlacement,
  writePlacement,
} from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { withChecksums } from '../helpers/fuzz.ts';
import { npyFile } from '../helpers/npy.ts';

/**
 * Cases a format. `FUZZ_CASES=100000 npx tsx test/run.ts placements-hostile` makes a long run, which also
 * wants every file to be done with within two seconds of the processor's time; short runs only have to end.
 */
const IS_LONG = process.env.FUZZ_CASES !== undefined;
const CASES = Number(process.env.FUZZ_CASES ?? 300);
const SEED = Number(process.env.FAST_CHECK_SEED ?? 20_240_607);

const MOST_MICROSECONDS = IS_LONG ? 2_000_000 : Number.POSITIVE_INFINITY;

/** Whether something thrown is one of the errors that the library exports. */
function isEplbError(error: unknown): error is EplbError | EplbRangeError | EplbTypeError {
  return error instanceof EplbError || error instanceof EplbRangeError || error instanceof EplbTypeError;
}

function microsecondsSince(started: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(started);
  return user + system;
}

/** Reads bytes and judges what they hold. It has to end in a result or one of our errors, and soon. */
async function survives(bytes: Uint8Array): Promise<void> {
  const started = process.cpuUsage();
  try {
    validatePlacement(await parsePlacement(bytes), { numRanks: 2 });
  } catch (error) {
    if (!isEplbError(error)) throw error;
  }
  assert.ok(microsecondsSince(started) < MOST_MICROSECONDS);
}

/** A change of a file: bytes put in the place of others. */
const edit = fc.record({
  at: fc.nat(1 << 16),
  cut: fc.oneof({ weight: 4, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.nat(200) }),
  put: fc.oneof(
    fc.uint8Array({ maxLength: 4 }),
    fc
      .constantFrom(
        '[',
        ']',
        '{',
        '}',
        ',',
        ':',
        '-',
        '\n',
        '&a ',
        '*a',
        '"',
        '[[',
        '-1',
        '1e9',
        '99999999',
        'null',
        '__proto__',
        '!!x ',
        '? ',
        '# ',
      )
      .map((text) => new TextEncoder().encode(text)),
  ),
});

function mutated(
  file: Uint8Array,
  edits: readonly { at: number; cut: number; put: Uint8Array }[],
): Uint8Array {
  let bytes = Buffer.from(file);
  for (const { at, cut, put } of edits) {
    const place = at % (bytes.length + 1);
    bytes = Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place + cut)]);
  }
  return bytes;
}

describe('changed files of placements end in a result or an error with a code', { concurrency: 1 }, () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([
    [0, 1, 2, 3, 0, 1],
    [3, 2, 1, 0, 2, 3],
  ]);
  for (const { name, holds } of FORMATS) {
    if (holds !== 'placements') continue;
    test(name, async () => {
      const { bytes } = await writePlacement(placementFrom(mapping), name, { numRanks: 2 });
      const property = fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) =>
        survives(mutated(bytes, edits)),
      );
      await fc.assert(property, { numRuns: CASES, seed: SEED, includeErrorInReport: true });
    });
  }

  for (const name of ['sglang.pt', 'sglang-list.pt', 'vllm.npz', 'lines.yaml', 'shared.yaml']) {
    test(`${name}, of another writer`, async () => {
      const bytes = await readFile(new URL(`../fixtures/placements/${name}`, import.meta.url));
      const edits = fc.array(edit, { minLength: 1, maxLength: 4 });
      // Archives with checksums that are right again, or else those tell all changes of what is in them.
      const property = fc.asyncProperty(edits, fc.boolean(), (changes, isRepaired) => {
        const changed = mutated(bytes, changes);
        return survives(isRepaired ? withChecksums(Buffer.from(changed)) : changed);
      });
      await fc.assert(property, { numRuns: CASES, seed: SEED, includeErrorInReport: true });
    });
  }

  test('anything at all', async () => {
    const text = fc
      .string({ unit: fc.constantFrom(...'[]{},:-0123456789&*!?#"\' \n\tab') })
      .map((one) => new TextEncoder().encode(one));
    const property = fc.asyncProperty(
      fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 300 }), text),
      async (bytes) => {
        if (bytes.length > 0) await survives(bytes);
      },
    );
    await fc.assert(property, { numRuns: CASES, seed: SEED });
  });
});

const encode = (text: string) => new TextEncoder().encode(text);
const yaml = (rows: string) => encode(`num_slots: 2\ninitial_global_assignments:\n${rows}`);

/** Files made to take much time or memory, with what is said of them. */
const HOSTILE: Readonly<Record<string, readonly [bytes: () => Uint8Array, code: string]>> = {
  'JSON nested a million deep': [() => encode('['.repeat(1e6) + ']'.repeat(1e6)), 'EPLB_FORMAT|EPLB_SHAPE'],
  'YAML flow sequences nested 30,000 deep': [() => yaml(`  0: ${'['.repeat(3e4)}`), 'EPLB_FORMAT'],
  'YAML block sequences nested 30,000 deep': [() => yaml(`  0: ${'- '.repeat(3e4)}`), 'EPLB_FORMAT'],
  'YAML with a million commas': [() => yaml(`  0: [${','.repeat(1e6)}]`), 'EPLB_FORMAT'],
  'YAML with a hundred thousand keys': [
    () => encode(`num_slots: 1\n${Array.from({ length: 1e5 }, (_, i) => `k${i}: 1\n`).join('')}`),
    'EPLB_FORMAT',
  ],
  'YAML aliases of aliases': [
    () =>
      encode(
        `a: &a [1, 1]\nb: &b {x: *a, y: *a}\nc: &c {x: *b, y: *b}\nd: &d {x: *c, y: ` +
          `*c}\ninitial_global_assignments: *d\n`,
      ),
    'EPLB_FORMAT',
  ],
  'YAML with one long row for many layers': [
    () =>
      encode(
        `initial_global_assignments:\n  0: &r [${'0, '.repeat(20_000)}0]\n` +
          Array.from({ length: 1500 }, (_, i) => `  ${i + 1}: *r\n`).join(''),
      ),
    'EPLB_SHAPE',
  ],
  'YAML with a row in a text': [() => encode('num_slots: 2\nnote: "see [1, 2]"\n'), 'EPLB_FORMAT'],
  'YAML with a prototype': [
    () => encode('num_slots: 2\ninitial_global_assignments:\n  __proto__: [0, 1]\n'),
    'EPLB_MAPPING',
  ],
  'JSON with a prototype': [
    () => encode('{"__proto__": {"physical_to_logical_map": [[0]]}, "constructor": {}}'),
    'EPLB_FORMAT',
  ],
  'a first row that is much longer than the others': [
    () => encode(`{"physical_to_logical_map": [[${'0, '.repeat(1e4)}0]${', [0]'.repeat(1e4)}]}`),
    'EPLB_SHAPE',
  ],
  'one device that holds much more than the others': [
    () => {
      const devices = Array.from({ length: 20_000 }, (_, i) => ({
        device_expert: i === 0 ? new Array(20_000).fill(0) : [0],
      }));
      return encode(JSON.stringify({ layer_list: [{ device_list: devices }] }));
    },
    'EPLB_SHAPE',
  ],
  'one expert that has much more slots than the others': [
    () => {
      const lists = Array.from({ length: 20_000 }, (_, i) =>
        i === 0 ? Array.from({ length: 20_000 }, (_, j) => j) : [0],
      );
      return encode(JSON.stringify({ logical_to_physical_map: [lists] }));
    },
    'EPLB_SHAPE',
  ],
  'a .npy of an absurd shape': [
    () => npyFile({ descr: '<i4', shape: [2 ** 40, 2 ** 40], values: [] }),
    'EPLB_FORMAT',
  ],
  'a .npy without numbers': [() => npyFile({ descr: '<i4', shape: [0, 4], values: [] }), 'EPLB_SHAPE'],
  'a pattern of twos': [() => npyFile({ descr: '<i4', shape: [1, 1, 2], values: [2, 2] }), 'EPLB_MAPPING'],
  'a layer number beyond all': [
    () => encode('initial_global_assignments: {99999999999: [0, 1]}'),
    'EPLB_MAPPING',
  ],
  'a layer twice': [() => yaml('  3: [0, 1]\n  3: [1, 0]\n'), 'EPLB_FORMAT'],
  'a layer twice in other words': [
    () => encode('{"initial_global_assignments": {"3": [0, 1], "03": [1, 0]}}'),
    'EPLB_MAPPING',
  ],
  'text that is no UTF-8': [() => Uint8Array.of(0x61, 0xff, 0xfe), 'EPLB_FORMAT'],
};

describe('hostile placements', { concurrency: 1 }, () => {
  for (const [title, [bytes, codes]] of Object.entries(HOSTILE)) {
    test(title, async () => {
      const file = bytes();
      const started = process.cpuUsage();
      await assert.rejects(parsePlacement(file), (error: unknown) => {
        assert.ok(isEplbError(error), String(error));
        assert.match(error.code, new RegExp(`^(${codes})$`), String(error));
        return true;
      });
      assert.ok(microsecondsSince(started) < MOST_MICROSECONDS);
      assert.equal(({} as Record<string, unknown>).physical_to_logical_map, undefined);
    });
  }

  test('what is read is written in no more than a multiple of its size', async () => {
    const far = await parsePlacement(encode('{"initial_global_assignments": {"9999999": [0, 1]}}'));
    await assert.rejects(writePlacement(far, 'sglang'), { code: 'EPLB_SHAPE' });
    const wide = await parsePlacement(
      encode(`{"physical_to_logical_map": [[${Array.from({ length: 20_000 }, (_, i) => i).join(', ')}]]}`),
    );
    await assert.rejects(writePlacement(wide, 'omni-infer', { numRanks: 20_000 }), { code: 'EPLB_SHAPE' });
  });

  test('an id that claims millions of experts takes no memory for them', async () => {
    const placement = await parsePlacement(
      encode(`{"physical_to_logical_map": [${'[16777216],'.repeat(1000)}[0]]}`),
    );
    const before = process.memoryUsage().arrayBuffers;
    const { facts } = validatePlacement(placement, { numRanks: 1 });
    assert.equal(facts.missing?.count, 1000 + 1001);
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
  });
});

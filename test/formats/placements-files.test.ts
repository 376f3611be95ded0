import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mappingOf, openPlacement, parsePlacement } from 'expert-load-balancer/formats';
import { ZipFile } from 'yazl';
import { npyFile } from '../helpers/npy.ts';

const folder = new URL('../fixtures/placements/', import.meta.url);
const fixture = (name: string) => fileURLToPath(new URL(name, folder));

/** The placement of test/fixtures/make-placement-fixtures.py. */
const ROWS = [0, 1, 2].map((layer) => Array.from({ length: 12 }, (_, slot) => (slot + 3 * layer) % 8));

/** A pattern does not tell the order of a rank's slots. */
const SORTED = ROWS.map((row) =>
  [0, 3, 6, 9].flatMap((first) => row.slice(first, first + 3).sort((a, b) => a - b)),
);

const FILES: Readonly<
  Record<string, { format: string; rows?: number[][]; layers?: number[]; ranks?: number }>
> = {
  'sglang.json': { format: 'sglang' },
  'sglang.pt': { format: 'sglang' },
  'sglang-list.pt': { format: 'sglang' },
  'expert_map.json': { format: 'vllm-ascend', ranks: 4 },
  'flow.yaml': { format: 'tensorrt-llm', layers: [3, 4, 5] },
  'lines.yaml': { format: 'tensorrt-llm', layers: [3, 4, 5] },
  'wrapped.yaml': { format: 'tensorrt-llm', layers: [3, 4, 5] },
  'shared.yaml': { format: 'tensorrt-llm', layers: [3, 4, 5], rows: [ROWS[0]!, ROWS[0]!, ROWS[0]!] },
  'omni.npy': { format: 'omni-infer', ranks: 4, rows: SORTED },
  'omni-int32.npy': { format: 'omni-infer', ranks: 4, rows: SORTED },
  'phy2log.npy': { format: 'tables-npy' },
  'phy2log-fortran.npy': { format: 'tables-npy' },
  'log2phy.npy': { format: 'tables-npy' },
  'eplb.npz': { format: 'tables-npz' },
  'vllm.npz': { format: 'tables-npz' },
};

describe("placements as PyTorch, NumPy, PyYAML and Python's json write them", () => {
  for (const [name, { format, rows = ROWS, layers, ranks }] of Object.entries(FILES)) {
    test(name, async () => {
      const placement = await openPlacement(fixture(name));
      assert.equal(placement.format, format);
      assert.equal(placement.numLogicalExperts, 8);
      assert.equal(placement.numRanks, ranks);
      assert.deepEqual(placement.layerNumbers, layers);
      assert.deepEqual(mappingOf(placement).toJSON().phyToLog, rows);
    });
  }
});

/** A .npz with one packed array. */
async function packed(name: string, npy: Uint8Array): Promise<Uint8Array> {
  const zip = new ZipFile();
  zip.addBuffer(Buffer.from(npy), `${name}.npy`, { compress: true });
  zip.end();
  const chunks: Buffer[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('packed tables that are far longer than their file', () => {
  const [layers, experts, width] = [4, 64, 20_000];
  const lengthy = (value: number) => {
    const values = new Array<number>(layers * experts * width).fill(value);
    for (let row = 0; row < layers * experts; row++) values[row * width] = row % experts;
    return packed(
      'logical_to_physical_map',
      npyFile({ descr: '<i4', shape: [layers, experts, width], values }),
    );
  };

  test('padding is left out while it is read', async () => {
    const file = await lengthy(-1);
    assert.ok(file.length < 50_000);
    const placement = await parsePlacement(file);
    assert.equal(placement.logToPhy?.length, layers * experts);
    const row = Array.from({ length: experts }, (_, slot) => slot);
    assert.deepEqual(mappingOf(placement).toJSON().phyToLog, [row, row, row, row]);
  });

  test('anything else is refused', async () => {
    await assert.rejects(
      lengthy(0).then((file) => parsePlacement(file)),
      /is too long for a table in so small a file/,
    );
    const flat = packed(
      'physical_to_logical_map',
      npyFile({ descr: '|u1', shape: [1, 8_000_000], values: new Array(8_000_000).fill(0) }),
    );
    await assert.rejects(
      flat.then((file) => parsePlacement(file)),
      /is too long for a table in so small a file/,
    );
  });
});

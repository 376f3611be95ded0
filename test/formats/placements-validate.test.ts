import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { balancedness, ExpertMapping, layerBalances, summarizeBalance } from 'expert-load-balancer';
import { parsePlacement, placementFrom, validatePlacement } from 'expert-load-balancer/formats';
import { inTempDir, sharedEplb } from '../helpers/cli.ts';
import { placementArbitrary } from '../helpers/placements.ts';
import { assertForAll } from '../helpers/property.ts';

const eplb = sharedEplb();

const parse = (value: unknown) => parsePlacement(new TextEncoder().encode(JSON.stringify(value)));
const slots = (...physical_to_logical_map: number[][]) => ({ physical_to_logical_map });

/** What an engine says of a placement: takes it or not, and all its reasons. */
async function verdict(engine: string, value: unknown, numRanks?: number) {
  const { engines } = validatePlacement(await parse(value), { numRanks });
  const { takes, problems, warnings } = engines.find((one) => one.engine === engine)!;
  return { takes, problems: problems.join('; '), warnings: warnings.join('; ') };
}

const ALL = ['sglang', 'vllm-ascend', 'tensorrt-llm', 'omni-infer', 'vllm'];

describe('what engines make of a placement', () => {
  test('all take one with every expert, as many slots a rank and none twice on one', () => {
    assertForAll(placementArbitrary, { small: 100, large: 4 }, ({ mapping, numRanks }) => {
      const { facts, engines } = validatePlacement(placementFrom(mapping), { numRanks });
      const { numPhysicalExperts: width, numLayers } = mapping;
      const perRank = width / numRanks;
      // Counted the plainest way.
      let repeated = 0;
      let most = 0;
      for (let layer = 0; layer < numLayers; layer++) {
        const row = Array.from({ length: width }, (_, slot) => mapping.getLogicalExpert(layer, slot));
        for (let rank = 0; rank < numRanks; rank++) {
          repeated += perRank - new Set(row.slice(rank * perRank, (rank + 1) * perRank)).size;
        }
        for (const expert of new Set(row)) most = Math.max(most, row.filter((one) => one === expert).length);
      }
      assert.equal(facts.duplicates?.count ?? 0, repeated);
      assert.equal(facts.maxReplicas, most);
      assert.deepEqual([facts.empty, facts.missing, facts.outside], [undefined, undefined, undefined]);
      for (const { engine, takes } of engines) {
        const minds = engine === 'vllm-ascend' || engine === 'omni-infer';
        const tooMany = engine === 'vllm' && width - mapping.numLogicalExperts > 1023;
        assert.equal(takes, (minds && repeated > 0) || tooMany ? 'no' : 'yes', engine);
      }
    });
  });

  for (const engine of ALL) {
    test(`${engine}: a missing expert, slots that ranks do not divide, unknown ranks`, async () => {
      const missing = await verdict(engine, slots([0, 1, 2, 3], [0, 1, 3, 3]), 2);
      assert.equal(missing.takes, 'no');
      assert.match(missing.problems, /experts without a slot: 1 \(first layer 1: expert 2 is in no slot\)/);
      const odd = await verdict(engine, slots([0, 1, 2, 0]), 3);
      assert.equal(odd.takes, 'no');
      assert.match(odd.problems, /4 slots are not a multiple of 3 ranks/);
      assert.deepEqual(await verdict(engine, slots([0, 1, 2, 3])), {
        takes: 'unknown',
        problems: 'the ranks are not known: give --ranks',
        warnings: engine === 'tensorrt-llm' ? (await verdict(engine, slots([0, 1, 2, 3]), 2)).warnings : '',
      });
    });
  }

  test('devices of different size: only a pattern says so', async () => {
    const map = {
      layer_list: [{ device_list: [{ device_expert: [0, 1] }, { device_expert: [2] }] }],
    };
    for (const engine of ALL) {
      const { takes, problems } = await verdict(engine, map);
      assert.equal(takes, engine === 'omni-infer' ? 'yes' : 'no');
      if (engine !== 'omni-infer')
        assert.match(problems, /empty slots.*: 1 \(first layer 0: slot 3 is empty\)/);
    }
  });

  test('vllm has room for 1,023 redundant experts', async () => {
    const row = (length: number) => slots(Array.from({ length }, (_, slot) => slot % 2));
    assert.equal((await verdict('vllm', row(1025), 1)).takes, 'yes');
    assert.match(
      (await verdict('vllm', row(1026), 1)).problems,
      /1024 redundant experts, vLLM has room for 1023/,
    );
    assert.equal((await verdict('sglang', row(1026), 1)).takes, 'yes');
  });

  test('tensorrt-llm and sglang say how layers are numbered', async () => {
    const yaml = { num_slots: 2, initial_global_assignments: { 3: [0, 1], 5: [1, 0] } };
    assert.match((await verdict('tensorrt-llm', yaml, 1)).warnings, /^layers 3 to 5 have gaps/);
    assert.match(
      (await verdict('sglang', yaml, 1)).warnings,
      /^no rows for the 3 layers of the model before/,
    );
    const plain = slots([0, 1]);
    assert.match((await verdict('tensorrt-llm', plain, 1)).warnings, /^layers are counted from 0 here/);
  });

  test('vllm-ascend: ids that are not their places are noted', async () => {
    const layer = (layer_id: number) => ({ layer_id, device_list: [{ device_expert: [0] }] });
    const placement = await parse({ layer_list: [layer(3), layer(4)] });
    assert.deepEqual(placement.notes, [
      "layer_id is not its entry's place in layer_list (3 stands at 0): read by place",
    ]);
  });

  test('tables that disagree', async () => {
    const tables = { ...slots([0, 1, 0]), logical_replica_count: [[1, 2]] };
    assert.match(
      (await verdict('vllm', tables, 1)).problems,
      /the tables disagree: layer 0: replicaCount says 1 for expert 0/,
    );
    const order = { ...slots([0, 1, 0]), logical_to_physical_map: [[[2, 0], [1]]] };
    assert.equal((await verdict('vllm', order, 1)).takes, 'yes');
  });
});

describe('eplb validate', { concurrency: 2 }, () => {
  const loads = [
    [5, 1, 1, 1],
    [1, 2, 3, 4],
  ];
  const rows = [
    [0, 1, 2, 3, 0, 0],
    [3, 2, 1, 0, 3, 2],
  ];

  test('tells the balancedness that the library computes', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'p.json'), JSON.stringify(slots(...rows)));
      await writeFile(join(dir, 'l.json'), JSON.stringify({ logical_count: loads }));
      const run = await eplb(['validate', 'p.json', '--ranks', '2', '--against', 'l.json', '--json'], {
        cwd: dir,
      });
      assert.equal(run.stderr, '');
      assert.equal(run.code, 0);
      const report = JSON.parse(run.stdout);
      const balances = layerBalances(loads, ExpertMapping.fromPhysicalToLogical(rows), 2);
      assert.deepEqual(report.against.overall, summarizeBalance(balances));
      assert.deepEqual(
        report.against.layers.map((layer: { balancedness: number }) => layer.balancedness),
        balances.map(balancedness),
      );
      assert.equal(report.judgedFor, 'sglang');
      const text = await eplb(['validate', 'p.json', '--ranks', '2', '--against', 'l.json'], { cwd: dir });
      assert.match(text.stdout, /^\*sglang +takes it\n/m);
      assert.match(
        text.stdout,
        /^ vllm-ascend +refuses it\n +slots that repeat an expert of their rank.*: 1 /m,
      );
      assert.match(text.stdout, / worst layer +\d: balancedness 0\.\d{4}\n/);
    });
  });

  test('the exit code: 0, 3 when the engine refuses, 2 for wrong input', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'p.json'), JSON.stringify(slots(...rows)));
      const code = async (...args: string[]) =>
        (await eplb(['validate', 'p.json', ...args], { cwd: dir })).code;
      assert.equal(await code('--ranks', '2'), 0);
      assert.equal(await code(), 3);
      assert.equal(await code('--ranks', '2', '--for', 'vllm-ascend'), 3);
      assert.equal(await code('--ranks', '2', '--for', 'all'), 3);
      assert.equal(await code('--ranks', '6', '--for', 'all'), 0);
      assert.equal(await code('--ranks', '2', '--experts', '5'), 3);
      const wrong = await eplb(['validate', 'p.json', '--for', 'llama'], { cwd: dir });
      assert.equal(wrong.code, 2);
      assert.match(
        wrong.stderr,
        /^eplb: --for: "llama" is not an engine; give sglang, .* or all \(EPLB_OPTION\)\n$/,
      );
      const missing = await eplb(['validate', 'none.json'], { cwd: dir });
      assert.equal(missing.code, 2);
      assert.match(missing.stderr, /^eplb: placement: cannot read "none\.json"/);
    });
  });

  test("SGLang's rows of dense layers: there or not", async () => {
    await inTempDir(async (dir) => {
      const stat = fileURLToPath(new URL('../fixtures/formats/sglang-stat-dense', import.meta.url));
      const moe = Array.from({ length: 3 }, () => [0, 1, 2, 3, 4, 5, 6, 7]);
      await writeFile(join(dir, 'moe.json'), JSON.stringify(slots(...moe)));
      await writeFile(join(dir, 'all.json'), JSON.stringify(slots(...moe, ...moe)));
      const all = await eplb(['validate', 'all.json', '--ranks', '8', '--against', stat], { cwd: dir });
      assert.equal(all.code, 0, all.stdout);
      assert.match(all.stdout, /^\*sglang +takes it\n/m);
      const few = await eplb(['validate', 'moe.json', '--ranks', '8', '--against', stat], { cwd: dir });
      assert.equal(few.code, 3);
      assert.match(few.stdout, /^\*sglang +refuses it\n +no rows for the 3 layers of the model before/m);
      await writeFile(join(dir, 'l.json'), JSON.stringify({ logical_count: moe }));
      const told = ['--ranks', '8', '--against', 'l.json', '--dense-rows', '3'];
      const dense = await eplb(['validate', 'all.json', ...told], { cwd: dir });
      assert.equal(dense.code, 0);
      assert.match(dense.stdout, / layers +6\n[\s\S]* balancedness, ratio of sums +0\.\d{4}\n/);
    });
  });

  test('loads of other sizes and placements that are not valid say why there are no figures', async () => {
    await inTempDir(async (dir) => {
      await writeFile(join(dir, 'p.json'), JSON.stringify(slots([0, 1, 1, 0])));
      await writeFile(join(dir, 'three.json'), '{"logical_count": [[1, 2, 3]]}');
      await writeFile(join(dir, 'two.json'), '{"logical_count": [[1, 2], [1, 2]]}');
      const against = (file: string, ...args: string[]) =>
        eplb(['validate', 'p.json', '--against', file, ...args], { cwd: dir });
      const three = await against('three.json', '--experts', '3', '--ranks', '2');
      assert.equal(three.code, 3);
      assert.match(
        three.stdout,
        /expert 2 is in no slot[\s\S]* balancedness +not known: the placement is not valid\n/,
      );
      const two = await against('two.json', '--ranks', '2');
      assert.equal(two.code, 2);
      assert.match(two.stderr, /^eplb: placement: "p\.json": it has 1 layer, the recording 2/);
      const ranks = await against('two.json');
      assert.equal(ranks.code, 2);
    });
  });
});

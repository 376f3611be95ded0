import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertMapping, type ExpertMappingInit } from 'expert-load-balancer';
import fc from 'fast-check';
import { divisors } from '../helpers/arbitraries.ts';
import { mappingArbitrary, rowsArbitrary, SEED, sizesArbitrary } from '../helpers/library.ts';
import { countReplicas } from '../oracle/inverse.ts';

const runs = (numRuns: number) => ({ numRuns, seed: SEED });

/** Sizes, rows of a valid mapping, and the mapping. */
const problems = sizesArbitrary().chain((sizes) =>
  rowsArbitrary(sizes).map((rows) => ({
    ...sizes,
    rows,
    mapping: ExpertMapping.fromPhysicalToLogical(rows, sizes.numLogical),
  })),
);

/** The slots of an expert in slot order. */
const slotsOf = (row: readonly number[], expert: number) =>
  row.flatMap((holds, slot) => (holds === expert ? [slot] : []));

test('the tables of a mapping agree with the rows it is made from', () => {
  fc.assert(
    fc.property(problems, ({ rows, numLayers, numLogical, numPhysical, mapping }) => {
      const counts = rows.map((row) => countReplicas(row, numLogical));
      const maxReplicas = Math.max(...counts.flat());
      const padded = (slots: number[]) => [...slots, ...Array<number>(maxReplicas - slots.length).fill(-1)];
      const experts = [...Array(numLogical).keys()];
      assert.deepEqual(
        [mapping.numLayers, mapping.numLogicalExperts, mapping.numPhysicalExperts, mapping.maxReplicas],
        [numLayers, numLogical, numPhysical, maxReplicas],
      );
      assert.deepEqual(mapping.phyToLog, Int32Array.from(rows.flat()));
      assert.deepEqual(mapping.replicaCount, Int32Array.from(counts.flat()));
      const logToPhy = rows.flatMap((row) => experts.flatMap((expert) => padded(slotsOf(row, expert))));
      assert.deepEqual(mapping.logToPhy, Int32Array.from(logToPhy));
      rows.forEach((row, layer) => {
        for (const expert of experts) {
          assert.deepEqual(mapping.getPhysicalExperts(layer, expert), slotsOf(row, expert));
        }
        const held = row.map((_, slot) => mapping.getLogicalExpert(layer, slot));
        assert.deepEqual(held, row);
      });
    }),
    runs(300),
  );
});

test('nested, flat, JSON and bytes give the same mapping', () => {
  fc.assert(
    fc.property(problems, ({ rows, numLayers, numLogical, mapping }) => {
      const sizes = { numLayers, numLogicalExperts: numLogical };
      const { phyToLog, replicaCount, logToPhy } = mapping;
      const json: unknown = JSON.parse(JSON.stringify(mapping));
      const others = [
        new ExpertMapping({ phyToLog: rows, numLogicalExperts: numLogical }),
        new ExpertMapping({ phyToLog, ...sizes }),
        new ExpertMapping({ phyToLog, replicaCount, logToPhy, ...sizes }),
        new ExpertMapping(mapping),
        ExpertMapping.fromJSON(json),
        ExpertMapping.fromJSON({ phyToLog: rows, numLogicalExperts: numLogical }),
        ExpertMapping.fromBytes(mapping.toBytes()),
      ];
      for (const other of others) {
        assert.ok(other.equals(mapping) && mapping.equals(other));
        assert.equal(other.digest(), mapping.digest());
        assert.deepEqual(other.toJSON(), mapping.toJSON());
        assert.deepEqual(other.logToPhy, logToPhy);
      }
      assert.deepEqual(json, mapping.toJSON());
    }),
    runs(200),
  );
});

test('two mappings have the same digest and the same bytes exactly when they are equal', () => {
  const pairs = sizesArbitrary(4).chain((sizes) =>
    fc.tuple(mappingArbitrary(sizes), mappingArbitrary(sizes)),
  );
  const strangers = fc.tuple(
    sizesArbitrary(4).chain(mappingArbitrary),
    sizesArbitrary(4).chain(mappingArbitrary),
  );
  let numEqual = 0;
  fc.assert(
    fc.property(fc.oneof(pairs, strangers), ([a, b]) => {
      const isSame =
        a.numLayers === b.numLayers &&
        a.numLogicalExperts === b.numLogicalExperts &&
        String(a.phyToLog) === String(b.phyToLog);
      assert.equal(a.equals(b), isSame);
      assert.equal(b.equals(a), isSame);
      assert.equal(a.digest() === b.digest(), isSame);
      assert.equal(String(a.toBytes()) === String(b.toBytes()), isSame);
      numEqual += Number(isSame);
    }),
    runs(1000),
  );
  assert.ok(numEqual > 20, `${numEqual} equal pairs`);
});

test('a digest is SHA-256 in hex and never changes from one version to the next', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical(
    [
      [0, 1, 2, 0],
      [2, -1, 1, 0],
    ],
    3,
  );
  const bytes =
    '45504c42010000000200000004000000030000000000000001000000020000000000000002000000ffffffff0100000000000000';
  assert.equal(Buffer.from(mapping.toBytes()).toString('hex'), bytes);
  assert.equal(mapping.digest(), '1ef8ef46ef7a2b0c888e07d94d1dc72a483894d6603cf949fb525521859939e3');
});

test('bytes are read from any view: at an odd offset, of a Buffer, in shared memory', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);
  const bytes = mapping.toBytes();
  const odd = new Uint8Array(bytes.length + 7).subarray(3, bytes.length + 3);
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  for (const view of [odd, shared]) {
    view.set(bytes);
    assert.ok(ExpertMapping.fromBytes(view).equals(mapping));
  }
  assert.ok(ExpertMapping.fromBytes(Buffer.from(bytes)).equals(mapping));
});

test('the order of replicas that logToPhy gives is kept, in memory and in JSON', () => {
  const init: ExpertMappingInit = {
    phyToLog: [[0, 1, 0, 0]],
    logToPhy: [
      [
        [3, 0, 2],
        [1, -1, -1],
      ],
    ],
  };
  const mapping = new ExpertMapping(init);
  assert.deepEqual(mapping.getPhysicalExperts(0, 0), [3, 0, 2]);
  assert.deepEqual([...mapping.logToPhy], [3, 0, 2, 1, -1, -1]);
  assert.deepEqual(ExpertMapping.fromJSON(mapping.toJSON()).getPhysicalExperts(0, 0), [3, 0, 2]);
});

test('nothing that a mapping takes or gives changes it', () => {
  fc.assert(
    fc.property(problems, ({ rows, numLayers, numLogical }) => {
      const flat = Int32Array.from(rows.flat());
      const nested = new ExpertMapping({ phyToLog: rows, numLogicalExperts: numLogical });
      const fromFlat = new ExpertMapping({ phyToLog: flat, numLayers, numLogicalExperts: numLogical });
      for (const mapping of [nested, fromFlat]) {
        const before = JSON.stringify(mapping);
        const digest = mapping.digest();
        for (const row of rows) row.fill(7);
        flat.fill(7);
        for (const table of [mapping.phyToLog, mapping.replicaCount, mapping.logToPhy]) table.fill(7);
        mapping.getPhysicalExperts(0, 0).fill(7);
        mapping.toBytes().fill(7);
        mapping.toJSON().phyToLog[0]!.fill(7);
        mapping.toJSON().logToPhy[0]![0]!.fill(7);
        assert.equal(JSON.stringify(mapping), before);
        assert.equal(mapping.digest(), digest);
        assert.ok(Object.isFrozen(mapping));
        assert.throws(() => Object.assign(mapping, { phyToLog: flat }), TypeError);
        assert.throws(() => Object.assign(mapping, { extra: 1 }), TypeError);
      }
    }),
    runs(50),
  );
});

test('look-ups out of range give no slots and no expert', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([
    [0, 1, -1],
    [1, 0, 0],
  ]);
  assert.equal(mapping.getLogicalExpert(0, 2), -1, 'an empty slot');
  for (const bad of [-1, 2, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32]) {
    assert.deepEqual(mapping.getPhysicalExperts(bad, 0), []);
    assert.equal(mapping.getLogicalExpert(bad, 0), -1);
    assert.deepEqual(mapping.getPhysicalExperts(0, bad), []);
    if (bad !== 2) assert.equal(mapping.getLogicalExpert(0, bad), -1);
  }
});

test('a move is a slot whose expert was not on that rank before', () => {
  const arbitrary = sizesArbitrary().chain((sizes) =>
    fc.record({
      before: mappingArbitrary(sizes),
      after: mappingArbitrary(sizes),
      numRanks: fc.constantFrom(...divisors(sizes.numPhysical)),
    }),
  );
  fc.assert(
    fc.property(arbitrary, ({ before, after, numRanks }) => {
      const slotsPerRank = after.numPhysicalExperts / numRanks;
      const movesOf = (layer: number) => {
        let moves = 0;
        for (let slot = 0; slot < after.numPhysicalExperts; slot++) {
          const expert = after.getLogicalExpert(layer, slot);
          const rank = Math.floor(slot / slotsPerRank);
          const slots = before.getPhysicalExperts(layer, expert);
          if (expert !== -1 && !slots.some((old) => Math.floor(old / slotsPerRank) === rank)) moves++;
        }
        return moves;
      };
      const perLayer = Array.from({ length: after.numLayers }, (_, layer) => movesOf(layer));
      assert.deepEqual(after.movesPerLayerFrom(before, numRanks), Int32Array.from(perLayer));
      assert.equal(
        after.movesFrom(before, numRanks),
        perLayer.reduce((sum, moves) => sum + moves),
      );
      assert.equal(after.movesFrom(after, numRanks), 0);
    }),
    runs(500),
  );
});

test('an exchange inside a rank is not a move', () => {
  const before = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
  const swapped = ExpertMapping.fromPhysicalToLogical([[1, 0, 3, 2]]);
  assert.equal(swapped.movesFrom(before, 2), 0);
  assert.equal(swapped.movesFrom(before, 4), 4);
});

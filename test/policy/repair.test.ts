import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertMapping,
  type Repair,
  type RepairOptions,
  repair,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { type Refusal, refusal, SEED } from '../helpers/library.ts';

/** Rows of slots that hold every expert, some in closed slots at a rank's end. */
interface Problem {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly numExperts: number;
  readonly rows: number[][];
  readonly loads: number[][];
  readonly deadRanks: number[];
}

/** Mappings with spare copies, closed and at times empty slots, and dead ranks; some leave too few slots. */
const problemArbitrary = fc
  .record({
    numNodes: fc.integer({ min: 1, max: 3 }),
    ranksPerNode: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 5 }),
    share: fc.double({ min: 0.2, max: 1, noNaN: true }),
    closed: fc.integer({ min: 0, max: 2 }),
    hasHoles: fc.boolean(),
    draws: fc.infiniteStream(fc.nat(1_000_000)),
    dead: fc.array(fc.nat(8), { maxLength: 3 }),
  })
  .map(({ numNodes, ranksPerNode, stride, share, closed, hasHoles, draws, dead }): Problem => {
    const draw = (end: number) => draws.next().value! % end;
    const numRanks = numNodes * ranksPerNode;
    const numSlots = numRanks * stride;
    const isOpen = Array.from(
      { length: numSlots },
      (_, slot) => slot >= stride || slot < Math.max(1, stride - closed),
    );
    const open = isOpen.flatMap((is, slot) => (is ? [slot] : []));
    const numExperts = Math.max(1, Math.floor(open.length * share));
    const row = () => {
      const order = [...open];
      for (let i = order.length - 1; i > 0; i--) {
        const other = draw(i + 1);
        [order[i], order[other]] = [order[other]!, order[i]!];
      }
      const slots = new Array<number>(numSlots).fill(-1);
      order.forEach((slot, i) => {
        const isHole = hasHoles && draw(5) === 0;
        slots[slot] = i < numExperts ? i : isHole ? -1 : draw(numExperts);
      });
      return slots;
    };
    const rowOfLoads = () => Array.from({ length: numExperts }, () => draw(1000));
    return {
      numRanks,
      numNodes,
      numExperts,
      rows: [row(), row()],
      loads: [rowOfLoads(), rowOfLoads()],
      deadRanks: dead.map((rank) => rank % numRanks),
    };
  });

const rowsOf = ({ phyToLog, numPhysicalExperts }: ExpertMapping) =>
  Array.from({ length: phyToLog.length / numPhysicalExperts }, (_, layer) =>
    Array.from(phyToLog.slice(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts)),
  );

/** What live ranks have left of a layer. */
function survivorsOf(row: readonly number[], { numRanks, deadRanks }: Problem): number[] {
  const stride = row.length / numRanks;
  return row.map((expert, slot) => (deadRanks.includes(Math.floor(slot / stride)) ? -1 : expert));
}

const openSlotsOf = (problem: Problem) =>
  problem.rows[0]!.filter((_, slot) => problem.rows.some((row) => survivorsOf(row, problem)[slot]! >= 0));

/** Mean over layers of the slowest rank's load. */
function slowest({ rows, loads }: { rows: number[][]; loads: number[][] }, numRanks: number): number {
  const perLayer = rows.map((row, layer) => {
    const stride = row.length / numRanks;
    const rankLoads = new Array<number>(numRanks).fill(0);
    row.forEach((expert, slot) => {
      if (expert < 0) return;
      const copies = row.filter((other) => other === expert).length;
      rankLoads[Math.floor(slot / stride)]! += loads[layer]![expert]! / copies;
    });
    return Math.max(...rankLoads);
  });
  return perLayer.reduce((sum, most) => sum + most, 0) / perLayer.length;
}

/** Checks what every repair has to be, whatever it may move. */
function checkRepair(problem: Problem, { mapping, hostLoads, moves }: Repair, maxMoves: number): void {
  const { numRanks, deadRanks, numExperts } = problem;
  const rows = rowsOf(mapping);
  let numMoves = 0;
  let numOrphans = 0;
  rows.forEach((row, layer) => {
    const stride = row.length / numRanks;
    const survivors = survivorsOf(problem.rows[layer]!, problem);
    const orphans = Array.from({ length: numExperts }, (_, expert) => expert).filter(
      (expert) => !survivors.includes(expert),
    );
    numOrphans += orphans.length;
    const loaded = hostLoads.filter((load) => load.layer === layer);
    // Exactly the experts that no live rank has come from the host, each once.
    assert.deepEqual(
      loaded.map(({ expert }) => expert).sort((a, b) => a - b),
      orphans,
    );
    for (const { expert, rank, slot } of loaded) assert.equal(row[rank * stride + slot], expert);
    assert.deepEqual(
      [...new Set(row.filter((expert) => expert >= 0))].sort((a, b) => a - b),
      Array.from({ length: numExperts }, (_, expert) => expert),
    );
    row.forEach((expert, slot) => {
      const rank = Math.floor(slot / stride);
      if (deadRanks.includes(rank)) assert.equal(expert, -1);
      const had = survivors.slice(rank * stride, (rank + 1) * stride);
      const fromHost = loaded.some((load) => load.rank === rank && load.expert === expert);
      if (expert >= 0 && !had.includes(expert) && !fromHost) numMoves++;
      // What a rank still has stays where it was.
      const place = had.indexOf(expert);
      if (expert >= 0 && place >= 0 && survivors[slot] !== expert)
        assert.equal(row[rank * stride + place], expert, `expert ${expert} went to slot ${slot}`);
      if (maxMoves > 0) return;
      // Nothing else is touched, but for copies that their experts could spare.
      if (!fromHost) assert.equal(expert, survivors[slot]);
    });
  });
  assert.equal(hostLoads.length, numOrphans);
  assert.equal(moves, numMoves);
  assert.ok(moves <= maxMoves, `${moves} of ${maxMoves}`);
}

describe('a mapping that has lost ranks', () => {
  test('the last copies of experts come back in slots of spare copies', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 0, 1]]);
    const { mapping: repaired, hostLoads, moves } = repair(mapping, { numRanks: 3, deadRanks: [1] });
    assert.deepEqual(rowsOf(repaired), [[2, 1, -1, -1, 0, 1]]);
    assert.deepEqual(hostLoads, [{ layer: 0, expert: 2, rank: 0, slot: 0 }]);
    assert.equal(moves, 0);
  });

  test('they go where the slowest rank stays lowest, the heaviest first', () => {
    // Rank 3 dies with experts 4 (10) and 5 (1). Spare: 0 on ranks 0, 1 and 2. With the second copy of 0 that
    // goes, one rank has all of it.
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 2, 0, 3, 4, 5]]);
    const loads = [[6, 9, 2, 4, 10, 1]];
    const { mapping: repaired, hostLoads } = repair(mapping, { numRanks: 4, deadRanks: [3], loads });
    assert.deepEqual(rowsOf(repaired), [[5, 1, 4, 2, 0, 3, -1, -1]]);
    assert.deepEqual(hostLoads, [
      { layer: 0, expert: 5, rank: 0, slot: 0 },
      { layer: 0, expert: 4, rank: 1, slot: 0 },
    ]);
  });

  test('ranks that are slow are given less', () => {
    // Spare: 0 on each live rank. As fast as the others, rank 0 takes expert 3; at a quarter it does not.
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 0, 2, 0, 2, 3, 3]]);
    const given = { numRanks: 4, deadRanks: [3], loads: [[3, 1, 8, 6]] };
    const { hostLoads } = repair(mapping, given);
    assert.deepEqual(hostLoads, [{ layer: 0, expert: 3, rank: 0, slot: 0 }]);
    const slow = repair(mapping, { ...given, rankSpeed: [0.25, 1, 1, 1] });
    assert.deepEqual(slow.hostLoads, [{ layer: 0, expert: 3, rank: 1, slot: 1 }]);
  });

  test('nothing dead, nothing changed', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 0, -1]]);
    const { mapping: repaired, hostLoads } = repair(mapping, { numRanks: 3 });
    assert.equal(repaired.digest(), mapping.digest());
    assert.deepEqual(hostLoads, []);
  });

  test('slots behind the last expert of a rank are closed, unless it is said that they are open', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, -1, -1, 2, 2, -1, -1, 0, 2, 0, -1]]);
    const given: RepairOptions = { numRanks: 3, deadRanks: [0], loads: [[6, 1, 9]] };
    // Rank 2 has a spare 0; rank 1 and 2 a spare 2. The empty slots are there only when they are said to be.
    assert.equal(rowsOf(repair(mapping, given).mapping)[0]!.filter((expert) => expert < 0).length, 7);
    const { mapping: repaired, hostLoads } = repair(mapping, { ...given, slotsPerRank: [4, 3, 4] });
    assert.deepEqual(rowsOf(repaired), [[-1, -1, -1, -1, 2, 2, 1, -1, 0, 2, 0, -1]]);
    assert.deepEqual(hostLoads, [{ layer: 0, expert: 1, rank: 1, slot: 2 }]);
  });

  test('a node that dies is its ranks', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 2, 1, 0, 1]]);
    const byNode = repair(mapping, { numRanks: 4, numNodes: 2, deadNodes: [1] });
    const byRanks = repair(mapping, { numRanks: 4, deadRanks: [3, 2] });
    assert.deepEqual(rowsOf(byNode.mapping), [[0, 1, 2, 0, -1, -1, -1, -1]]);
    assert.equal(byNode.mapping.digest(), byRanks.mapping.digest());
  });

  test('random problems: a host load for each orphan, moves within their limit, the same bytes twice', () => {
    fc.assert(
      fc.property(
        problemArbitrary,
        fc.constantFrom(0, 1, 4, Number.POSITIVE_INFINITY),
        (problem, maxMoves) => {
          const { rows, numExperts, numRanks, numNodes, deadRanks, loads } = problem;
          const mapping = ExpertMapping.fromPhysicalToLogical(rows, numExperts);
          const before = mapping.digest();
          const given = { numRanks, numNodes, deadRanks, loads, maxMoves };
          const numOpen = openSlotsOf(problem).length;
          if (numOpen < numExperts) {
            const told = new RegExp(`${numOpen} open slots for ${numExperts} experts`);
            assert.throws(() => repair(mapping, given), refusal('range', 'EPLB_TOPOLOGY', told));
            return;
          }
          const repaired = repair(mapping, given);
          checkRepair(problem, repaired, maxMoves);
          assert.equal(repair(mapping, given).mapping.digest(), repaired.mapping.digest());
          assert.equal(mapping.digest(), before);
        },
      ),
      { seed: SEED, numRuns: 150 },
    );
  });

  test('with free moves it is as good as a plan made freely on the live ranks', () => {
    const ratios: number[] = [];
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 40, maxLength: 40 }),
        fc.integer({ min: 0, max: 7 }),
        (draws, dead) => {
          const loads = [draws.map((draw) => Math.floor(1000 * draw ** 4))];
          const mapping = new DefaultEplbPolicy().rebalanceExperts([draws], 64, 1, 1, 8);
          const slotsPerRank = Array.from({ length: 8 }, (_, rank) => (rank === dead ? 0 : 8));
          const free = new AdaptiveEplbPolicy({ price: 0 });
          const best = free.rebalanceExperts(loads, 64, 1, 1, 8, { slotsPerRank });
          const repaired = repair(mapping, {
            numRanks: 8,
            deadRanks: [dead],
            loads,
            maxMoves: Number.POSITIVE_INFINITY,
          });
          const [own, others] = [repaired.mapping, best].map((one) =>
            slowest({ rows: rowsOf(one), loads }, 8),
          );
          ratios.push(others === 0 ? 1 : own! / others!);
        },
      ),
      { seed: SEED, numRuns: 25 },
    );
    const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
    assert.ok(mean <= 1.02, `${mean}`);
  });

  test('what is wrong is said', () => {
    const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0]]);
    const cases: readonly [Record<string, unknown>, Refusal][] = [
      [{ numRanks: 3 }, ['range', 'EPLB_TOPOLOGY', /numRanks: 3 does not divide 4 slots/]],
      [{ numRanks: 2, numNodes: 3 }, ['range', 'EPLB_TOPOLOGY', /numRanks/]],
      [{ numRanks: 2, deadRanks: [2] }, ['range', 'EPLB_RANGE', /deadRanks\[0\]: 2/]],
      [{ numRanks: 2, deadRanks: 1 }, ['type', 'EPLB_KIND', /deadRanks: 1/]],
      [{ numRanks: 2, deadNodes: [0.5] }, ['range', 'EPLB_NOT_WHOLE', /deadNodes\[0\]/]],
      [{ numRanks: 2, deadRanks: [0] }, ['range', 'EPLB_TOPOLOGY', /2 open slots for 3 experts, 1 too few/]],
      [{ numRanks: 2, deadRanks: [0, 1] }, ['range', 'EPLB_TOPOLOGY', /0 open slots/]],
      [{ numRanks: 2, loads: [[1, 2]] }, ['range', 'EPLB_SHAPE', /loads/]],
      [{ numRanks: 2, loads: [[1, 2, Number.NaN]] }, ['range', 'EPLB_LOAD', /loads/]],
      [{ numRanks: 2, maxMoves: -1 }, ['range', 'EPLB_RANGE', /maxMoves/]],
      [{ numRanks: 2, maxMoves: Number.NaN }, ['range', 'EPLB_NOT_WHOLE', /maxMoves/]],
      [{ numRanks: 2, slotsPerRank: [2] }, ['range', 'EPLB_SHAPE', /slotsPerRank/]],
      [{ numRanks: 2, slotsPerRank: [2, 3] }, ['range', 'EPLB_RANGE', /slotsPerRank: rank 1/]],
      [{ numRanks: 2, rankSpeed: [1] }, ['range', 'EPLB_SHAPE', /rankSpeed: has 1 numbers, not 2/]],
      [{ numRanks: 2, rankSpeed: [1, 0] }, ['range', 'EPLB_RANGE', /rankSpeed: rank 1: 0/]],
      [{ numRanks: 2, deadRank: [0] }, ['type', 'EPLB_OPTION', /deadRanks/]],
    ];
    for (const [options, expected] of cases)
      assert.throws(() => repair(mapping, options as unknown as RepairOptions), refusal(...expected));
    const noMapping = { phyToLog: [[0]] } as unknown as ExpertMapping;
    assert.throws(() => repair(noMapping, { numRanks: 1 }), refusal('type', 'EPLB_KIND', /mapping/));
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ExpertLoadBalancer, ExpertMapping, shareBalancer } from 'expert-load-balancer';
import { Lane } from '../../src/share/lane.ts';
import { Stores } from '../helpers/stores.ts';

// A thread may die at any instruction while it records, and the balancer's thread may take what is recorded
// at any. All the loads of a row are equal here, and each expert has two slots: so whole rows leave equal
// loads.

const TOPOLOGY = {
  numLayers: 2,
  numLogicalExperts: 3,
  numPhysicalExperts: 6,
  numRanks: 1,
  numNodes: 1,
  numGroups: 1,
};
const { numLayers, numLogicalExperts, numPhysicalExperts } = TOPOLOGY;

/** The table of each generation; under every one an expert has two slots. */
const TABLES = [
  [0, 1, 2, 0, 1, 2],
  [0, 0, 1, 1, 2, 2],
  [2, 1, 0, 0, 1, 2],
].map((row) => Int32Array.from([...row, ...[...row].reverse()]));

function tablesOf(generation: number) {
  const phyToLog = TABLES[generation]!;
  return { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog, replicaRank: new Int32Array(12) };
}

/**
 * What a thread does; `bit` is what a row adds to each of its slots, or half of what it adds to each of its
 * experts.
 */
type Action =
  | { readonly do: 'physical' | 'logical'; readonly layer: number; readonly bit: number }
  | { readonly do: 'mapping'; readonly generation: number };

const ACTIONS: readonly Action[] = [
  { do: 'physical', layer: 0, bit: 1 },
  { do: 'physical', layer: 0, bit: 2 },
  { do: 'logical', layer: 0, bit: 4 },
  { do: 'physical', layer: 1, bit: 8 },
  { do: 'mapping', generation: 1 },
  { do: 'logical', layer: 0, bit: 16 },
  { do: 'physical', layer: 0, bit: 32 },
  { do: 'physical', layer: 1, bit: 64 },
  { do: 'mapping', generation: 2 },
  { do: 'physical', layer: 1, bit: 128 },
];

function act(lane: Lane, action: Action): void {
  if (action.do === 'mapping') lane.changeMapping(tablesOf(action.generation - 1), action.generation);
  else if (action.do === 'physical') lane.recordPhysical(action.layer, new Float32Array(6).fill(action.bit));
  else lane.recordLogical(action.layer, new Float32Array(3).fill(2 * action.bit));
}

/** The balancer's side: the loads of each expert, [layers][experts], of all that was taken. */
class Host {
  readonly loads = Array.from({ length: numLayers }, () => new Array<number>(numLogicalExperts).fill(0));
  readonly #lane: Lane;

  constructor(buffer: SharedArrayBuffer) {
    this.#lane = new Lane(TOPOLOGY, buffer);
  }

  drain(): void {
    this.#lane.drain({
      logical: (layer, row) => {
        for (const [expert, load] of row.entries()) this.loads[layer]![expert]! += load;
      },
      physical: (layer, row, generation) => {
        for (const [slot, load] of row.entries())
          this.loads[layer]![TABLES[generation]![layer * numPhysicalExperts + slot]!]! += load;
      },
    });
  }
}

/** What the first actions leave when all their rows are whole. */
function loadsOf(actions: readonly Action[]): number[][] {
  const loads = Array.from({ length: numLayers }, () => new Array<number>(numLogicalExperts).fill(0));
  for (const action of actions) {
    if (action.do === 'mapping') continue;
    loads[action.layer] = loads[action.layer]!.map((load) => load + 2 * action.bit);
  }
  return loads;
}

/**
 * Plays the actions until the thread dies, calling `before` before each store.
 *
 * @returns how many actions it survived
 */
function play(stores: Stores, lane: Lane, before: (store: number) => void): number {
  let numDone = 0;
  stores.watch(before, () => {
    for (const action of ACTIONS) {
      act(lane, action);
      numDone++;
    }
  });
  return numDone;
}

function newLane(stores: Stores): { lane: Lane; host: Host } {
  const { buffer } = new Lane(TOPOLOGY);
  return { lane: stores.watched(() => new Lane(TOPOLOGY, buffer)), host: new Host(buffer) };
}

/**
 * Asserts that what was taken is of whole rows: of those that were recorded, and at most of the one under
 * way.
 */
function assertWhole(host: Host, numDone: number, what: string): void {
  const without = JSON.stringify(loadsOf(ACTIONS.slice(0, numDone)));
  const withIt = JSON.stringify(loadsOf(ACTIONS.slice(0, numDone + 1)));
  const loads = JSON.stringify(host.loads);
  assert.ok(loads === without || loads === withIt, `${what}: got ${loads}, not ${without} or ${withIt}`);
}

const stores = new Stores();
const numStores = (() => {
  const { lane, host } = newLane(stores);
  let count = 0;
  play(stores, lane, () => count++);
  host.drain();
  assert.deepEqual(host.loads, loadsOf(ACTIONS));
  return count;
})();

test('a thread that dies at any store: what it recorded counts, the row under way whole or not', () => {
  // At least the rows themselves: else the stores were not seen.
  assert.ok(numStores >= 6 * 6 + 2 * 3, `${numStores} stores`);
  for (let last = 0; last < numStores; last++) {
    const { lane, host } = newLane(stores);
    const numDone = play(stores, lane, (store) => {
      if (store === last) stores.die();
    });
    // Nobody tells the balancer that the thread is gone.
    host.drain();
    assertWhole(host, numDone, `died at store ${last}`);
    host.drain();
    assertWhole(host, numDone, `died at store ${last}, looked at again`);
  }
});

test('a balancer that takes what is recorded before any store gets every row once', () => {
  for (let first = 0; first < numStores; first++) {
    for (let second = first; second < numStores; second += 7) {
      const { lane, host } = newLane(stores);
      play(stores, lane, (store) => {
        if (store === first || store === second) host.drain();
      });
      host.drain();
      assert.deepEqual(host.loads, loadsOf(ACTIONS), `taken before stores ${first} and ${second}`);
    }
  }
});

test('a thread that dies at any store after its loads were taken at any other', () => {
  for (let taken = 0; taken < numStores; taken++) {
    for (let last = taken; last < numStores; last += 3) {
      const { lane, host } = newLane(stores);
      const numDone = play(stores, lane, (store) => {
        if (store === taken) host.drain();
        if (store === last) stores.die();
      });
      host.drain();
      assertWhole(host, numDone, `taken before store ${taken}, died at ${last}`);
    }
  }
});

const SIZES = { numLayers: 4, numLogicalExperts: 64, numPhysicalExperts: 128, numRanks: 4, threads: 0 };

/** A mapping in which each expert has two slots. */
function rotated(shift: number): ExpertMapping {
  const row = Array.from({ length: 128 }, (_, slot) => (slot + shift) % 64);
  return ExpertMapping.fromPhysicalToLogical(Array.from({ length: 4 }, () => row));
}

async function startRecorder(balancer: ExpertLoadBalancer, mode: string): Promise<Worker> {
  const port = shareBalancer(balancer);
  const url = new URL('../fixtures/share/doomed-recorder.mjs', import.meta.url);
  const worker = new Worker(url, { workerData: { port, mode }, transferList: [port], execArgv: [] });
  await once(worker, 'message');
  return worker;
}

/**
 * Ends the step, and asserts that each layer's experts got the same.
 *
 * @returns the loads of the layers' experts
 */
function wholeLoads(balancer: ExpertLoadBalancer): number[] {
  balancer.advanceWindow();
  const { data, numExperts } = balancer.getAverageLogicalLoad();
  return Array.from({ length: SIZES.numLayers }, (_, layer) => {
    const row = data.subarray(layer * numExperts, (layer + 1) * numExperts);
    const other = row.findIndex((load) => load !== row[0]);
    assert.equal(other, -1, `layer ${layer}: expert ${other} got ${row[other]}, expert 0 got ${row[0]}`);
    return row[0]!;
  });
}

test('200 threads terminated while they record leave whole rows', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize: 1 });
  let total = 0;
  let generation = 0;
  for (let round = 0; round < 20; round++) {
    const recorders = await Promise.all(
      Array.from({ length: 10 }, (_, i) => startRecorder(balancer, i % 2 === 0 ? 'both' : 'physical')),
    );
    try {
      for (const [i, worker] of recorders.entries()) {
        // Two at a time record: one that dies beside one that lives.
        worker.postMessage('go');
        await sleep(1 + (i % 3));
        balancer.commit(rotated(generation++ % 64));
        if (i % 3 === 0) total += wholeLoads(balancer)[0]!;
        await recorders[i - 1]?.terminate();
      }
    } finally {
      await Promise.all(recorders.map((worker) => worker.terminate()));
    }
    // The ends of their ports are told in a later turn.
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    total += wholeLoads(balancer)[0]!;
  }
  assert.ok(total > 0);
  await balancer.close();
});

test('a thread that ends itself while a row is read leaves the rows before it', async () => {
  const balancer = new ExpertLoadBalancer({ ...SIZES, windowSize: 1 });
  const worker = await startRecorder(balancer, 'exit');
  const exit = once(worker, 'exit');
  worker.postMessage('go');
  await exit;
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  // Two slots of 1 each for every expert, in the one row that was whole.
  assert.deepEqual(wholeLoads(balancer), [2, 0, 0, 0]);
  await balancer.close();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpertLoadBalancer, ExpertMapping } from 'expert-load-balancer';
import fc from 'fast-check';
import { rowsArbitrary, SEED, type Sizes, sizesArbitrary } from '../helpers/library.ts';

/** What one layer got in one step: per slot, per expert, or both. */
interface Row {
  slots?: number[];
  experts?: number[];
}

/** A step in the window, with the table and the number of the mapping it was recorded under. */
interface Step {
  rows: Row[];
  table: number[][];
  era: number;
}

/** The window in the simplest code: it keeps all steps as they came and adds them up when asked. */
class WindowModel {
  readonly sizes: Sizes;
  readonly windowSize: number;
  table: number[][];
  era = 0;
  pass: Row[];
  steps: Step[] = [];

  constructor(sizes: Sizes, windowSize: number) {
    this.sizes = sizes;
    this.windowSize = windowSize;
    const row = Array.from({ length: sizes.numPhysical }, (_, slot) => slot % sizes.numLogical);
    this.table = Array.from({ length: sizes.numLayers }, () => row);
    this.pass = this.#emptyRows();
  }

  recordLoad(layer: number, loads: readonly number[]): void {
    this.pass[layer]!.slots = added(loads, this.pass[layer]!.slots);
  }

  recordLogicalLoad(layer: number, loads: readonly number[]): void {
    this.pass[layer]!.experts = added(loads, this.pass[layer]!.experts);
  }

  advanceWindow(): void {
    const rows = this.pass.map((row, layer) =>
      row.slots && row.experts ? this.#asExperts(row, layer) : row,
    );
    this.steps = [...this.steps, { rows, table: this.table, era: this.era }].slice(-this.windowSize);
    this.pass = this.#emptyRows();
  }

  /** What the step recorded so far is read through the mapping that was live. */
  commit(table: number[][]): void {
    this.pass = this.pass.map((row, layer) => (row.slots ? this.#asExperts(row, layer) : row));
    this.table = table;
    this.era++;
  }

  averageLogicalLoad(): number[] {
    return this.#eachLayer((layer) => {
      const { own, others } = this.#sums(layer);
      const sums = fold(own, this.table[layer]!, others);
      return sums.map((sum) => this.#mean(sum));
    });
  }

  averageLoad(): number[] {
    return this.#eachLayer((layer) => {
      const { own, others } = this.#sums(layer);
      const shares = spread(others, this.table[layer]!);
      const isEmpty = (slot: number) => this.table[layer]![slot] === -1;
      return own.map((sum, slot) => this.#mean(isEmpty(slot) ? 0 : sum + shares[slot]!));
    });
  }

  passLoads(): number[] {
    return this.#eachLayer((layer) => this.#inSlots(this.pass[layer]!, this.table[layer]!));
  }

  window(): number[] {
    return this.steps.flatMap(({ rows, table }) =>
      this.#eachLayer((layer) => this.#inSlots(rows[layer]!, table[layer]!)),
    );
  }

  /** Sums of what the live mapping's slots got, and of all else, per expert. */
  #sums(layer: number): { own: number[]; others: number[] } {
    let own = zeros(this.sizes.numPhysical);
    let others = zeros(this.sizes.numLogical);
    for (const { rows, table, era } of this.steps) {
      const { slots, experts } = rows[layer]!;
      if (slots && era === this.era) own = added(slots, own);
      else if (slots) others = fold(slots, table[layer]!, others);
      if (experts) others = added(experts, others);
    }
    return { own, others };
  }

  #asExperts({ slots = [], experts }: Row, layer: number): Row {
    return { experts: fold(slots, this.table[layer]!, experts ?? zeros(this.sizes.numLogical)) };
  }

  #inSlots({ slots, experts }: Row, table: readonly number[]): number[] {
    const { numPhysical } = this.sizes;
    const shares = experts ? spread(experts, table) : zeros(numPhysical);
    return added(shares, slots ?? zeros(numPhysical));
  }

  #mean(sum: number): number {
    return Math.fround(Math.max(0, sum) / Math.max(this.steps.length, 1));
  }

  #eachLayer(values: (layer: number) => number[]): number[] {
    return this.table.flatMap((_, layer) => values(layer));
  }

  #emptyRows(): Row[] {
    return Array.from({ length: this.sizes.numLayers }, () => ({}));
  }
}

const zeros = (n: number) => Array<number>(n).fill(0);
const added = (loads: readonly number[], to?: readonly number[]) =>
  loads.map((load, i) => load + (to?.[i] ?? 0));

/** Loads of slots as loads of experts, added to `experts`. */
function fold(slots: readonly number[], table: readonly number[], experts: readonly number[]): number[] {
  const sums = [...experts];
  slots.forEach((load, slot) => {
    if (table[slot] !== -1) sums[table[slot]!]! += load;
  });
  return sums;
}

/** Loads of experts, each evenly over its slots. */
function spread(experts: readonly number[], table: readonly number[]): number[] {
  return table.map((expert) => {
    if (expert === -1) return 0;
    return experts[expert]! / table.filter((other) => other === expert).length;
  });
}

/** What a host does. A mapping is one of a few, so that some are made live again later. */
type Action =
  | { readonly do: 'slots' | 'experts'; readonly layer: number; readonly loads: number[] }
  | { readonly do: 'advance' }
  | { readonly do: 'commit'; readonly mapping: number };

interface History {
  readonly sizes: Sizes;
  readonly windowSize: number;
  readonly tables: number[][][];
  readonly actions: readonly Action[];
}

function historyArbitrary(load: fc.Arbitrary<number>): fc.Arbitrary<History> {
  return sizesArbitrary(10).chain((sizes) => {
    const layer = fc.nat({ max: sizes.numLayers - 1 });
    const loads = (n: number) => fc.array(load, { minLength: n, maxLength: n });
    const slots = fc.record({ do: fc.constant('slots' as const), layer, loads: loads(sizes.numPhysical) });
    const experts = fc.record({ do: fc.constant('experts' as const), layer, loads: loads(sizes.numLogical) });
    const advance = fc.constant({ do: 'advance' } as const);
    const commit = fc.record({ do: fc.constant('commit' as const), mapping: fc.nat({ max: 2 }) });
    const action: fc.Arbitrary<Action> = fc.oneof(
      { weight: 4, arbitrary: slots },
      { weight: 3, arbitrary: experts },
      { weight: 4, arbitrary: advance },
      { weight: 1, arbitrary: commit },
    );
    return fc.record({
      sizes: fc.constant(sizes),
      windowSize: fc.constantFrom(1, 2, 3, 5, 8),
      tables: fc.array(rowsArbitrary(sizes), { minLength: 3, maxLength: 3 }),
      actions: fc.array(action, { maxLength: 40, size: 'max' }),
    });
  });
}

/** Plays a history on a balancer and on the model; `compare` is called after each action. */
function play(
  { sizes, windowSize, tables, actions }: History,
  compare: (balancer: ExpertLoadBalancer, model: WindowModel) => void,
): void {
  const { numLayers, numLogical, numPhysical } = sizes;
  const balancer = new ExpertLoadBalancer({
    numLayers,
    numLogicalExperts: numLogical,
    numPhysicalExperts: numPhysical,
    numRanks: 1,
    windowSize,
    threads: 0,
  });
  const model = new WindowModel(sizes, windowSize);
  const mappings = tables.map((table) => ExpertMapping.fromPhysicalToLogical(table, numLogical));
  for (const action of actions) {
    if (action.do === 'advance') {
      balancer.advanceWindow();
      model.advanceWindow();
    } else if (action.do === 'commit') {
      const mapping = mappings[action.mapping]!;
      if (mapping !== balancer.mapping) model.commit(tables[action.mapping]!);
      balancer.commit(mapping);
    } else if (action.do === 'slots') {
      balancer.recordLoad(action.layer, action.loads);
      model.recordLoad(action.layer, action.loads);
    } else {
      balancer.recordLogicalLoad(action.layer, action.loads);
      model.recordLogicalLoad(action.layer, action.loads);
    }
    compare(balancer, model);
  }
}

test('whole loads: averages, step and window are exactly those of a plain model', () => {
  fc.assert(
    fc.property(historyArbitrary(fc.nat({ max: 100_000 })), (history) => {
      play(history, (balancer, model) => {
        const { numSamples, expertLoadPass, expertLoadWindow, physicalToLogical } = balancer.metrics();
        assert.equal(balancer.numSamples, model.steps.length);
        assert.equal(numSamples, model.steps.length);
        assert.deepEqual([...balancer.getAverageLogicalLoad().data], model.averageLogicalLoad());
        assert.deepEqual([...balancer.getAverageLoad().data], model.averageLoad());
        assert.deepEqual([...expertLoadPass], model.passLoads().map(Math.fround));
        assert.deepEqual([...expertLoadWindow], model.window().map(Math.fround));
        assert.deepEqual([...physicalToLogical], model.table.flat());
      });
    }),
    { numRuns: 400, seed: SEED },
  );
});

test('fractional loads: averages are those of the model but for rounding', () => {
  const load = fc.oneof(
    fc.float({ min: 0, max: 1e6, noNaN: true }),
    fc.constantFrom(0, Math.fround(0.1), Math.fround(1e-20), 2 ** -149, Math.fround(1e15)),
  );
  fc.assert(
    fc.property(historyArbitrary(load), (history) => {
      // float32 of the step and of the result; the smallest results are whole numbers of 2^-149.
      const isClose = (a: number, b: number) => Math.abs(a - b) <= 4e-6 * Math.abs(b) + 2 ** -148;
      const assertClose = (actual: Float32Array, expected: readonly number[]) => {
        assert.equal(actual.length, expected.length);
        expected.forEach((b, i) => {
          assert.ok(isClose(actual[i]!, b), `at ${i} got ${actual[i]}, not ${b}`);
        });
      };
      play(history, (balancer, model) => {
        assertClose(balancer.getAverageLogicalLoad().data, model.averageLogicalLoad());
        assertClose(balancer.getAverageLoad().data, model.averageLoad());
        assertClose(balancer.metrics().expertLoadWindow, model.window());
      });
    }),
    { numRuns: 300, seed: SEED },
  );
});

test('a load is read through the mapping that was live when it was recorded, not through the new one', () => {
  const sizes = { numLayers: 1, numLogicalExperts: 2, numPhysicalExperts: 4, numRanks: 2, threads: 0 };
  const balancer = new ExpertLoadBalancer(sizes);
  balancer.recordLoad(0, [10, 1, 20, 2]);
  balancer.advanceWindow();
  balancer.commit(ExpertMapping.fromPhysicalToLogical([[1, 1, 1, 0]]));
  assert.deepEqual([...balancer.getAverageLogicalLoad().data], [30, 3]);
  assert.deepEqual([...balancer.getAverageLoad().data], [1, 1, 1, 30]);
  assert.deepEqual([...balancer.metrics().expertLoadWindow], [10, 1, 20, 2]);
});

test('going back to an older mapping keeps the sums right until its samples have left', () => {
  const sizes = {
    numLayers: 1,
    numLogicalExperts: 1,
    numPhysicalExperts: 2,
    numRanks: 2,
    windowSize: 1,
    threads: 0,
  };
  const balancer = new ExpertLoadBalancer(sizes);
  const first = balancer.mapping;
  balancer.recordLoad(0, [10, 0]);
  balancer.advanceWindow();
  balancer.commit(ExpertMapping.fromPhysicalToLogical([[0, 0]]));
  balancer.commit(first);
  assert.deepEqual([...balancer.getAverageLogicalLoad().data], [10]);
  balancer.advanceWindow();
  assert.deepEqual([...balancer.getAverageLoad().data], [0, 0]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADAPTIVE_KERNELS, kernelMismatch, KERNELS as PLAIN_KERNELS } from '../../scripts/kernel-contract.ts';
import { loadKernels } from '../helpers/kernels.ts';

const { kernels, arena } = loadKernels();

interface Sizes {
  readonly experts: number;
  readonly slots: number;
  readonly ranks: number;
  readonly nodes: number;
  readonly groups: number;
}

const SIZES: readonly Sizes[] = [
  { experts: 8, slots: 16, ranks: 4, nodes: 2, groups: 1 },
  { experts: 16, slots: 64, ranks: 8, nodes: 2, groups: 8 },
  { experts: 60, slots: 64, ranks: 16, nodes: 4, groups: 60 },
  { experts: 3, slots: 128, ranks: 64, nodes: 2, groups: 1 },
  { experts: 64, slots: 256, ranks: 256, nodes: 4, groups: 16 },
  { experts: 200, slots: 256, ranks: 4, nodes: 4, groups: 8 },
];

/** A kernel with scratch: how much it says that it takes, and a run of it there. */
interface Kernel {
  readonly name: string;
  bytes(sizes: Sizes): number;
  run(sizes: Sizes, scratch: number): void;
  /** Bytes that the kernel may leave at the end, for the reason beside it. */
  readonly slack?: number;
}

const KERNELS: readonly Kernel[] = [
  {
    name: 'replicateLayer',
    bytes: ({ experts, slots }) => kernels.replicateLayerScratchBytes(experts, slots),
    run: ({ experts, slots }, scratch) =>
      kernels.replicateLayer(
        loads(experts),
        experts,
        slots,
        ints(slots),
        ints(slots),
        ints(experts),
        scratch,
      ),
    // The last expert's load per replica comes last, and it may have no second replica.
    slack: 4 * 8,
  },
  {
    name: 'placeRow',
    bytes: ({ experts, slots }) => kernels.placeRowScratchBytes(experts, slots),
    run: ({ experts, slots, ranks }, scratch) =>
      kernels.placeRow(loads(experts), experts, slots, ranks, ints(slots), ints(slots), scratch),
  },
  {
    name: 'placeLayers',
    bytes: ({ experts, slots, groups, nodes }) => {
      const isHierarchical = groups % nodes === 0;
      return kernels.placeLayersScratchBytes(
        experts,
        slots,
        isHierarchical ? groups : 1,
        isHierarchical ? nodes : 1,
      );
    },
    run: ({ experts, slots, groups, nodes, ranks }, scratch) => {
      const isHierarchical = groups % nodes === 0;
      const [g, n] = isHierarchical ? [groups, nodes] : [1, 1];
      const tables = [ints(2 * slots), ints(2 * slots)] as const;
      kernels.placeLayers(loads(2 * experts), 2, experts, slots, g, n, ranks, ...tables, scratch);
    },
  },
  {
    name: 'packLayer',
    bytes: ({ slots }) => kernels.packLayerScratchBytes(slots),
    run: ({ slots, ranks }, scratch) =>
      kernels.packLayer(loads(slots), slots, ranks, ints(slots), ints(slots), scratch),
  },
  {
    name: 'preserveSlots',
    bytes: ({ experts, slots, ranks }) => kernels.preserveSlotsScratchBytes(slots, ranks, experts),
    run: ({ experts, slots, ranks }, scratch) => {
      const table = () => arena.inOut(Int32Array.from({ length: slots }, (_, slot) => slot % experts)).ptr;
      kernels.preserveSlots(table(), table(), table(), slots, ranks, experts, scratch);
    },
  },
  {
    name: 'windowImbalance',
    bytes: ({ experts }) => kernels.windowImbalanceScratchBytes(experts),
    run: ({ experts, slots, ranks }, scratch) => {
      const sums = (n: number) => arena.input(Float64Array.from({ length: n }, () => random())).ptr;
      const table = arena.input(Int32Array.from({ length: slots }, (_, slot) => slot % experts)).ptr;
      kernels.windowImbalance(sums(slots), sums(experts), table, 1, slots, experts, ranks, 0, 0, scratch);
    },
  },
  {
    name: 'averageLoads',
    bytes: ({ experts }) => kernels.averageLoadsScratchBytes(experts),
    run: ({ experts, slots }, scratch) => {
      const sums = (n: number) => arena.input(Float64Array.from({ length: n }, () => random())).ptr;
      const table = arena.input(Int32Array.from({ length: slots }, (_, slot) => slot % experts)).ptr;
      const out = arena.output(Float32Array, experts).ptr;
      kernels.averageLoads(sums(slots), table, slots, sums(experts), experts, 3, out, scratch);
    },
  },
  {
    name: 'sortKeysDescending',
    bytes: ({ slots }) => kernels.sortKeysScratchBytes(slots),
    run: ({ slots }, scratch) => {
      const keys = BigUint64Array.from({ length: slots }, () => BigInt(Math.floor(random() * 2 ** 50)));
      kernels.sortKeysDescending(arena.inOut(keys).ptr, slots, scratch);
    },
    // One of the two rows that are sorted side by side.
    slack: 8,
  },
];

let state = 1;

function random(): number {
  state = (state * 48_271) % 2_147_483_647;
  return state / 2_147_483_647;
}

function loads(n: number): number {
  return arena.input(Float32Array.from({ length: n }, () => random() ** 4)).ptr;
}

function ints(n: number): number {
  return arena.output(Int32Array, n).ptr;
}

for (const { name, bytes, run, slack = 0 } of KERNELS) {
  test(`${name} takes as much scratch as it says, and no byte more or less`, () => {
    for (const sizes of SIZES) {
      arena.reset();
      const numBytes = bytes(sizes);
      const scratch = arena.scratch(numBytes);
      run(sizes, scratch);
      arena.check();
      const numWritten = arena.numWritten(scratch, numBytes);
      const text = `${numWritten} of ${numBytes} bytes with ${JSON.stringify(sizes)}`;
      assert.ok(numWritten >= numBytes - slack, text);
    }
  });
}

test('a module with other exports is named', () => {
  const contract = { ...PLAIN_KERNELS, ...ADAPTIVE_KERNELS };
  const mismatch = (exports: object) => String(kernelMismatch(exports, contract));
  assert.equal(kernelMismatch(kernels, contract), undefined);
  const { addSums, adaptiveTermsBytes, ...others } = kernels;
  assert.match(mismatch({ ...others, adaptiveTermsBytes }), /exports no function addSums/);
  assert.match(mismatch({ ...others, addSums }), /exports no number adaptiveTermsBytes/);
  assert.match(mismatch({ ...kernels, addSums: () => addSums }), /addSums with 0 parameters, not 4/);
  assert.match(mismatch({ ...kernels, subtractSums: addSums }), /exports subtractSums, which is not known/);
});

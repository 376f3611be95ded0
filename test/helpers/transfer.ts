import { ExpertMapping, type TransferOptions } from 'expert-load-balancer';
import fc from 'fast-check';
import { seededRandom } from './arbitraries.ts';

/** Two placements, and how the weights are to get from one to the other. */
export interface TransferProblem {
  readonly from: ExpertMapping;
  readonly to: ExpertMapping;
  readonly options: TransferOptions & { readonly numRanks: number; readonly deadRanks: readonly number[] };
}

interface Shape {
  readonly seed: number;
  readonly numRanks: number;
  readonly slotsPerRank: number;
  readonly numLayers: number;
  /** Share of the slots that may hold an expert which are redundant. */
  readonly redundancy: number;
  /** Share of the slots that are closed in both, and of those closed in one of them. */
  readonly closed: number;
  /** Share of the slots that change; 1: all are drawn anew. */
  readonly changed: number;
  readonly deadRanks: number;
  /** Whether a few experts have most of the redundant slots, several of one rank among them. */
  readonly isSkewed: boolean;
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  seed: fc.integer(),
  numRanks: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 64 })),
  slotsPerRank: fc.integer({ min: 1, max: 10 }),
  numLayers: fc.integer({ min: 1, max: 2 }),
  redundancy: fc.constantFrom(0, 0.1, 0.3, 0.8),
  closed: fc.constantFrom(0, 0, 0.1, 0.4),
  changed: fc.constantFrom(0, 0.1, 0.5, 1),
  deadRanks: fc.constantFrom(0, 0, 0.1, 0.5),
  isSkewed: fc.boolean(),
});

const modes = fc.record(
  {
    mode: fc.constantFrom('buffered' as const, 'inPlace' as const),
    staging: fc.constantFrom(0 as const, 1 as const, 2 as const),
    duplex: fc.constantFrom('full' as const, 'half' as const),
    relay: fc.boolean(),
    maxBytesInFlight: fc.constantFrom(100, 150, 200, 1000),
  },
  { requiredKeys: [] },
);

/** Problems of 1 to 64 ranks, with closed slots, dead ranks, and experts several times on a rank. */
export const transferProblems: fc.Arbitrary<TransferProblem> = fc
  .tuple(shapes, modes)
  .map(([shape, mode]) => problemOf(shape, mode));

function problemOf(shape: Shape, mode: Partial<TransferOptions>): TransferProblem {
  const random = seededRandom(shape.seed);
  const below = (end: number) => Math.floor(random() * end);
  const { numRanks, numLayers } = shape;
  const numSlots = numRanks * shape.slotsPerRank;
  const open = (share: number) => {
    const slots = Array.from({ length: numSlots }, (_, slot) => slot).filter(() => random() >= share);
    return slots.length === 0 ? [below(numSlots)] : slots;
  };
  const openBefore = open(shape.closed);
  const openAfter = random() < 0.5 ? openBefore : open(shape.closed);
  const most = Math.min(openBefore.length, openAfter.length);
  const numExperts = Math.max(1, Math.floor(most * (1 - shape.redundancy)));
  const drawn = (slots: readonly number[]) => {
    const row = new Array<number>(numSlots).fill(-1);
    for (const [i, slot] of shuffled(slots, below).entries()) {
      const redundant = shape.isSkewed ? below(Math.min(2, numExperts)) : below(numExperts);
      // Some of those that are open stay empty.
      row[slot] = i < numExperts ? i : random() < 0.1 ? -1 : redundant;
    }
    return row;
  };
  const before = Array.from({ length: numLayers }, () => drawn(openBefore));
  const after = before.map((row) =>
    shape.changed === 1 || openAfter !== openBefore ? drawn(openAfter) : swapped(row, shape.changed, below),
  );
  const deadRanks = Array.from({ length: numRanks }, (_, rank) => rank).filter(
    () => random() < shape.deadRanks,
  );
  const nodes = [1, 2, 4, numRanks].filter((count) => numRanks % count === 0);
  return {
    from: ExpertMapping.fromPhysicalToLogical(before, numExperts),
    to: ExpertMapping.fromPhysicalToLogical(after, numExperts),
    options: { numRanks, numNodes: nodes[below(nodes.length)]!, deadRanks, bytesPerExpert: 100, ...mode },
  };
}

function swapped(row: readonly number[], share: number, below: (end: number) => number): number[] {
  const next = [...row];
  const held = row.flatMap((expert, slot) => (expert < 0 ? [] : [slot]));
  for (let i = 0; i < held.length * share; i++) {
    const [a, b] = [held[below(held.length)]!, held[below(held.length)]!];
    [next[a], next[b]] = [next[b]!, next[a]!];
  }
  return next;
}

function shuffled(list: readonly number[], below: (end: number) => number): number[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const k = below(i + 1);
    [out[i], out[k]] = [out[k]!, out[i]!];
  }
  return out;
}

import { readFileSync } from 'node:fs';
import type { CostModelInit } from 'expert-load-balancer';
import fc from 'fast-check';

const seconds = (max: number) => fc.integer({ min: 0, max: Math.round(max * 1e7) }).map((n) => n / 1e7);
const increments = fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.nat(1000)), {
  minLength: 1,
  maxLength: 6,
});

/** Cost models with a roofline or a table, of times that devices may have. */
export function costInitArbitrary(): fc.Arbitrary<CostModelInit> {
  const tile = fc.constantFrom(1, 16, 128);
  const roofline = fc.record(
    { idle: seconds(1e-4), floor: seconds(1e-3), perToken: seconds(1e-5), tile },
    { requiredKeys: ['perToken'] },
  );
  const table = fc.tuple(seconds(1e-4), tile, increments).map(([idle, tile, steps]) => {
    let at = 0;
    let time = idle;
    const points = steps.map(([more, longer]) => {
      at += more;
      time += longer * 1e-7;
      return [at, time] as const;
    });
    return { idle, tile, tokens: points.map(([n]) => n), seconds: points.map(([, s]) => s) };
  });
  const link = fc.record({
    latencySeconds: seconds(1e-3),
    bytesPerSecond: fc.integer({ min: 1e9, max: 1e12 }),
  });
  return fc.record(
    {
      name: fc.string({ maxLength: 8 }),
      fixedSeconds: seconds(1e-3),
      slotSeconds: fc.oneof(roofline, table),
      dispatchBytesPerToken: fc.nat(20_000),
      combineBytesPerToken: fc.nat(20_000),
      bytesPerExpert: fc.nat(1e8),
      links: fc.record({ intraNode: link, interNode: link }),
      moves: fc.record({ secondsPerRound: seconds(1e-3) }),
    },
    { requiredKeys: ['slotSeconds'] },
  );
}

/** What was measured on an H200: times in microseconds. */
export interface H200Measurements {
  readonly slots: readonly { readonly active: number; readonly tokensEach: number; readonly us: number }[];
  readonly uneven: readonly {
    readonly tokens: number;
    readonly shareOfHottest: number;
    readonly us: number;
  }[];
  /** The slowest of 16 ranks of 5 slots, 128 x `scale` tokens of 6 experts in a step. */
  readonly ranks16: readonly {
    readonly scale: number;
    readonly gemm_max_us: number;
    readonly balancedness: number;
  }[];
  /** A layer on 4 devices of 20 slots, dispatch and combine included, of as many tokens. */
  readonly layers4: readonly {
    readonly scale: number;
    readonly layer_us: number;
    readonly balancedness: number;
  }[];
  readonly moves: readonly {
    readonly pattern: string;
    readonly moves: number;
    readonly rounds: number;
    readonly ms: number;
  }[];
}

/** The measurements of test/fixtures/cost/h200.json. */
export function h200Measurements(): H200Measurements {
  return JSON.parse(readFileSync(new URL('../fixtures/cost/h200.json', import.meta.url), 'utf8'));
}

/** The slots of each even cell, 20 on the rank, and the seconds that they took. */
export function evenCells(): { readonly tokensPerSlot: number[]; readonly seconds: number }[] {
  return h200Measurements().slots.map(({ active, tokensEach, us }) => ({
    tokensPerSlot: Array.from({ length: 20 }, (_, slot) => (slot < active ? tokensEach : 0)),
    seconds: us * 1e-6,
  }));
}

/** The even cells as plugins/python/eplb_calibrate.py writes them. */
export function h200Calibration() {
  return {
    format: 'eplb-calibration',
    version: 1,
    ...{ device: 'NVIDIA H200', torch: '2.11', hiddenSize: 7168, expertSize: 2048, precision: 'bf16' },
    slots: evenCells(),
  };
}

/** The same where one slot has more than the others. */
export function unevenCells(): { readonly tokensPerSlot: number[]; readonly seconds: number }[] {
  return h200Measurements().uneven.map(({ tokens, shareOfHottest, us }) => {
    const hottest = Math.floor(tokens * shareOfHottest);
    const others = Math.floor((tokens - hottest) / 19);
    return { tokensPerSlot: [hottest, ...Array<number>(19).fill(others)], seconds: us * 1e-6 };
  });
}

/** The load of the slowest of so many ranks: 128 x `scale` tokens, 6 experts each. */
export function slowestLoad(
  { scale, balancedness }: { readonly scale: number; readonly balancedness: number },
  numRanks: number,
): number {
  return (128 * 6 * scale) / numRanks / balancedness;
}

/** The median and the largest of |forecast / measured - 1|. */
export function errorsOf(
  forecast: (tokensPerSlot: number[]) => number,
  cells: readonly { readonly tokensPerSlot: number[]; readonly seconds: number }[],
): { readonly median: number; readonly worst: number } {
  const errors = cells.map(({ tokensPerSlot, seconds: took }) =>
    Math.abs(forecast(tokensPerSlot) / took - 1),
  );
  errors.sort((a, b) => a - b);
  const half = errors.length / 2;
  return { median: (errors[Math.floor(half)]! + errors[Math.ceil(half) - 1]!) / 2, worst: errors.at(-1)! };
}

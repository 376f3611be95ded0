import type { Figure } from './figure.ts';

/** A limit on a figure's value, in the figure's unit. */
interface Limit {
  readonly relation: '<=' | '<' | '>=';
  readonly value: number;
}

interface Bar {
  /** The id of a figure, or the beginning of several that ends with a slash. */
  readonly figures: string;
  /** The goal, and where it is not the least that is wanted, that too. */
  readonly limits: readonly [goal: Limit, least?: Limit];
}

/** All bars, in one place. */
const BARS: readonly Bar[] = [
  { figures: 'inline/58x256->288/', limits: [atMost(0.26), atMost(1)] },
  { figures: 'inline/48x512->640/', limits: [atMost(0.9)] },
  { figures: 'inline/94x128->160/', limits: [atMost(0.35)] },
  { figures: 'inline/92x896->1024/', limits: [atMost(2)] },
  { figures: 'inline/64x1024->2048/', limits: [atMost(4), below(20)] },
  { figures: 'pooled/58x256->288/1 thread over inline', limits: [atMost(0.15), atMost(0.3)] },
  { figures: 'block/58x256->288/longest gap', limits: [below(1)] },
  { figures: 'host/58x256->288/delay/', limits: [below(1)] },
  { figures: 'host/58x256->288/call/', limits: [atMost(200)] },
  { figures: 'scaling/8 slots a rank/growth over slots x log(slots)', limits: [atMost(1)] },
  { figures: 'scaling/16 ranks/growth over slots x log(slots)', limits: [atMost(1)] },
  { figures: 'record/recordLoad 288/Float32Array', limits: [atMost(0.25), below(1)] },
  { figures: 'record/recordLoad 288/number[]', limits: [below(1)] },
  { figures: 'record/recordLogicalLoad 256/Float32Array', limits: [atMost(0.25)] },
  { figures: 'startup/import alone over bare node', limits: [below(10)] },
  { figures: 'startup/import to first mapping/inline', limits: [below(15)] },
  { figures: 'startup/import to first mapping/pool of one', limits: [below(60)] },
  { figures: 'memory/58x256->288/window 100/', limits: [below(150)] },
  { figures: 'memory/58x256->288/window 1000/', limits: [below(90)] },
  { figures: 'memory/92x896->1024/window 1000/', limits: [atMost(420)] },
  { figures: 'replay/58x256->288/static/a step', limits: [atMost(60)] },
  { figures: 'replay/58x256->288/every 256, window 64/a step', limits: [atMost(60)] },
  { figures: 'replay/58x256->288/every 64, window 64/a step', limits: [atMost(60)] },
  { figures: 'formats/npy/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy int8/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy uint16/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy float16/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy float32/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy int64/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy float64/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/pt/time of 1,000 MB', limits: [atMost(3300)] },
  { figures: 'formats/npy/peak memory over bare node', limits: [atMost(64)] },
  { figures: 'formats/pt/peak memory over bare node', limits: [atMost(64)] },
  { figures: 'adaptive/26x64->80/inline, first plan', limits: [atMost(10)] },
  { figures: 'adaptive/26x64->80/inline, next plan', limits: [atMost(10)] },
  { figures: 'adaptive/58x256->288/1 thread', limits: [atMost(120)] },
  { figures: 'adaptive/58x256->288/2 threads over 1', limits: [atLeast(1.8)] },
  { figures: 'topology/58x256->288, 4 nodes, 16 topics/', limits: [atMost(100)] },
  { figures: 'topology/58x256->288, 4 nodes, 32 topics/', limits: [atMost(100)] },
  { figures: 'topology/1x1024->2048, 16 nodes, 128 ranks/', limits: [atMost(60)] },
  { figures: 'topology/1x1024->2048, 16 nodes, 512 ranks/', limits: [atMost(60)] },
  { figures: 'topology/58x256->288/repair of a dead rank', limits: [atMost(10)] },
  { figures: 'transfer/58x256->288/100 % changed/one node', limits: [atMost(5)] },
  { figures: 'transfer/58x256->288/100 % changed/four nodes, link model', limits: [atMost(5)] },
  { figures: 'transfer/58x256->288/10 % changed/one node', limits: [atMost(1)] },
  { figures: 'transfer/58x256->288/10 % changed/four nodes, link model', limits: [atMost(1)] },
  { figures: 'transfer/58x256->288/100 % changed/first-fit batches over rounds', limits: [atLeast(3.3)] },
  { figures: 'transfer/58x256->288/10 % changed/first-fit batches over rounds', limits: [atLeast(1.8)] },
  { figures: 'threads/512x1024->2048/2 threads over 1', limits: [atLeast(1.8)] },
  { figures: 'cores/default 512x1024->2048/efficiency with 16 threads', limits: [atLeast(0.7)] },
  { figures: 'cores/adaptive 92x896->1024/efficiency with 16 threads', limits: [atLeast(0.7)] },
  {
    figures: 'cores/default 2x256->288, first plan, 2 and 192 cores reported/time, difference',
    limits: [atMost(60)],
  },
  {
    figures: 'cores/default 2x256->288, first plan, 2 and 192 cores reported/memory, difference',
    limits: [atMost(20)],
  },
];

/** A bar beside its figure. */
export interface Verdict {
  readonly limit: Limit;
  readonly isMet: boolean;
  /** Where it is not met: whether that is the machine's doing. */
  readonly isOfMachine: boolean;
}

/**
 * The machine's own is what misses a bar by no more than this times its control, where the control, which has
 * nothing of the library, misses it too.
 */
const MOST_OVER_CONTROL = 1.15;

/** The bars of a figure, the goal first; none for most figures. */
export function verdictsOf(figure: Figure): Verdict[] {
  const bar = BARS.find(({ figures }) =>
    figures.endsWith('/') ? figure.id.startsWith(figures) : figure.id === figures,
  );
  const limits = bar?.limits.filter((limit) => limit !== undefined) ?? [];
  return limits.map((limit) => ({
    limit,
    isMet: isMet(figure.value, limit),
    isOfMachine: isOfMachine(figure, limit),
  }));
}

function isOfMachine({ value, control }: Figure, limit: Limit): boolean {
  if (control === undefined || isMet(value, limit) || isMet(control.value, limit)) return false;
  return limit.relation === '>='
    ? value * MOST_OVER_CONTROL >= control.value
    : value <= control.value * MOST_OVER_CONTROL;
}

function isMet(value: number, { relation, value: limit }: Limit): boolean {
  if (relation === '<=') return value <= limit;
  return relation === '<' ? value < limit : value >= limit;
}

function atMost(value: number): Limit {
  return { relation: '<=', value };
}

function below(value: number): Limit {
  return { relation: '<', value };
}

function atLeast(value: number): Limit {
  return { relation: '>=', value };
}

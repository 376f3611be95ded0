import type { AdaptiveExports } from '../../src/policy/adaptive/kernel-exports.ts';
import { AdaptiveTerms } from '../../src/policy/adaptive/terms.ts';
import type { AdaptiveProblem } from '../oracle/adaptive.ts';
import type { Arena, Buffer } from './kernels.ts';

/** What the kernel makes of a problem, and all its work. */
export interface SearchResult {
  readonly phyToLog: Int32Array;
  readonly replicaRank: Int32Array;
  /** The objective without the price, of the live placement, repaired, and of the result. */
  readonly before: number;
  readonly after: number;
  /** What links cost less, of both. */
  readonly saved: { readonly before: number; readonly after: number };
  readonly isBelow: boolean;
  readonly moves: number;
  readonly evaluations: number;
  readonly visits: number;
  readonly work: number;
}

/** A search that was laid out, and not yet run. */
interface LaidOutSearch {
  readonly terms: AdaptiveTerms;
  readonly phyToLog: Buffer<Int32Array>;
  readonly replicaRank: Buffer<Int32Array>;
}

/**
 * Runs the adaptive policy's kernel, in an arena that it resets.
 *
 * @param cancel makes the word that cancels the search; none is watched when left out
 * @param maxSamples how many samples the scratch has room for; as many as there are when left out
 */
export function runSearch(
  parts: { kernels: AdaptiveExports; arena: Arena },
  problem: AdaptiveProblem,
  cancel?: () => Buffer<Int32Array>,
  maxSamples = problem.weights.length,
): SearchResult {
  const { terms, phyToLog, replicaRank } = layOut(parts, problem, maxSamples);
  terms.setIntegers({ cancelled: cancel?.().ptr ?? 0 });
  parts.kernels.searchAdaptive(terms.at);
  parts.arena.check();
  return {
    phyToLog: phyToLog.view.slice(),
    replicaRank: replicaRank.view.slice(),
    before: terms.number('before'),
    after: terms.number('after'),
    saved: { before: terms.number('savedBefore'), after: terms.number('savedAfter') },
    isBelow: terms.integer('isBelow') !== 0,
    moves: terms.integer('moves'),
    evaluations: terms.number('evaluations'),
    visits: terms.integer('visits'),
    work: terms.number('work'),
  };
}

/** What the kernel takes one step from `previous` to cost: see kernels/adaptive/step-cost.ts. */
export function costOfStep(
  parts: { kernels: AdaptiveExports; arena: Arena },
  problem: AdaptiveProblem,
  slot: number,
  other: number,
  isOverwrite: boolean,
): number {
  const { terms } = layOut(parts, problem, problem.weights.length);
  const cost = parts.kernels.adaptiveStepCost(terms.at, slot, other, isOverwrite ? 1 : 0);
  parts.arena.check();
  return cost;
}

/** Deals the problem's `fresh` to its ranks: see kernels/adaptive/deal.ts. */
export function dealFresh(
  { kernels, arena }: { kernels: AdaptiveExports; arena: Arena },
  problem: AdaptiveProblem & { readonly fresh: Int32Array },
): Int32Array {
  const { terms } = layOut({ kernels, arena }, problem, problem.weights.length);
  const fresh = arena.inOut(problem.fresh);
  terms.setIntegers({ fresh: fresh.ptr });
  kernels.dealToRanks(terms.at);
  arena.check();
  return fresh.view.slice();
}

function layOut(
  { kernels, arena }: { kernels: AdaptiveExports; arena: Arena },
  problem: AdaptiveProblem,
  maxSamples: number,
): LaidOutSearch {
  const { numExperts, numSlots, numRanks, numNodes, weights } = problem;
  arena.reset();
  const { buffer } = arena.inOut(new Int32Array(1)).view;
  const terms = new AdaptiveTerms(kernels, buffer, arena.scratch(kernels.adaptiveTermsBytes.value));
  const phyToLog = arena.output(Int32Array, numSlots);
  const replicaRank = arena.output(Int32Array, numSlots);
  const { slots } = problem;
  const { links, ceiling } = problem;
  const numLinkNodes = links === undefined ? 0 : 1 + Math.max(...links.nodeOfRank);
  terms.setNumbers({
    price: problem.price,
    leastGain: problem.leastGain,
    unit: slots?.unit ?? 1,
    linkPrice: links?.price ?? 0,
    pairsTotal: links?.near?.total ?? (links?.pairs.reduce((sum, pair) => sum + pair, 0) ?? 0) / 2,
    ceiling: ceiling?.time ?? 0,
  });
  terms.setIntegers({
    numExperts,
    numSlots,
    numRanks,
    numNodes,
    maxSamples,
    numSamples: weights.length,
    slotsPerRank: problem.slotsPerRank === undefined ? 0 : arena.input(problem.slotsPerRank).ptr,
    survivors: problem.survivors === undefined ? 0 : arena.input(problem.survivors).ptr,
    domains: problem.domains === undefined ? 0 : arena.input(problem.domains).ptr,
    rankSpeed: problem.rankSpeed === undefined ? 0 : arena.input(problem.rankSpeed).ptr,
    pairs: links === undefined ? 0 : arena.input(links.near?.worth ?? links.pairs).ptr,
    isNearest: links?.near === undefined ? 0 : 1,
    nodeOfRank: links === undefined ? 0 : arena.input(links.nodeOfRank).ptr,
    numLinkNodes,
    ceilingLoads: ceiling === undefined ? 0 : arena.input(ceiling.loads).ptr,
    walkPatience: problem.walkPatience ?? 0,
    pinned: 0,
    fixedShare: problem.fixedShare === undefined ? 0 : arena.input(problem.fixedShare).ptr,
    fixedLoad: problem.fixedShare === undefined ? 0 : arena.output(Float32Array, numRanks * maxSamples).ptr,
    curve: slots === undefined ? 0 : arena.input(slots.curve).ptr,
    tokens: slots === undefined ? 0 : arena.input(slots.tokens).ptr,
    samples: arena.input(problem.samples).ptr,
    spread: arena.input(problem.spread).ptr,
    weights: arena.input(weights).ptr,
    previous: arena.input(problem.previous).ptr,
    fresh: problem.fresh === undefined ? 0 : arena.input(problem.fresh).ptr,
    dealsCopies: problem.dealsCopies ? 1 : 0,
    isSharp: problem.isSharp ? 1 : 0,
    maxMoves: problem.maxMoves,
    maxVisits: problem.maxVisits,
    maxPasses: problem.maxPasses,
    maxIdle: problem.maxIdle,
    maxEvaluations: problem.maxEvaluations,
    numKicks: problem.numKicks,
    cancelled: 0,
    phyToLog: phyToLog.ptr,
    replicaRank: replicaRank.ptr,
    scratch: arena.scratch(
      kernels.adaptiveScratchBytes(numExperts, numSlots, numRanks, maxSamples, numLinkNodes),
    ),
  });
  return { terms, phyToLog, replicaRank };
}

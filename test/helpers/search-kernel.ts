import type { KernelExports } from '../../src/memory/kernel-exports.ts';
import type { AdaptiveProblem, AdaptiveResult } from '../oracle/adaptive.ts';
import type { Arena, Buffer } from './kernels.ts';

/** What the kernel makes of a problem, and all its work. */
interface SearchResult extends AdaptiveResult {
  readonly work: number;
}

/**
 * Runs the adaptive policy's kernel, in an arena that it resets.
 *
 * @param cancel makes the word that cancels the search; none is watched when left out
 */
export function runSearch(
  { kernels, arena }: { kernels: KernelExports; arena: Arena },
  problem: AdaptiveProblem,
  cancel?: () => Buffer<Int32Array>,
): SearchResult {
  const { numExperts, numSlots, numRanks, numNodes, price, maxMoves, maxEvaluations, numKicks } = problem;
  const numSamples = problem.weights.length;
  arena.reset();
  const samples = arena.input(problem.samples);
  const spread = arena.input(problem.spread);
  const weights = arena.input(problem.weights);
  const stats = arena.output(Float64Array, 5);
  const previous = arena.input(problem.previous);
  const fresh = problem.fresh && arena.input(problem.fresh);
  const phyToLog = arena.output(Int32Array, numSlots);
  const replicaRank = arena.output(Int32Array, numSlots);
  const width = Math.ceil(numExperts / 16) * 16;
  const stride = Math.ceil(numSlots / numRanks / 4) * 4;
  const rows = 4 * numSamples * (numExperts + width + 2 * numRanks + 1);
  const costs = 4 * numRanks * (4 * width + numExperts) + 32 * width + 24 * numExperts;
  const counts = 12 * stride + 32 * numSlots + 64 * numRanks;
  const slotsPerRank = problem.slotsPerRank && arena.input(problem.slotsPerRank);
  kernels.searchAdaptive(
    samples.ptr,
    spread.ptr,
    weights.ptr,
    numExperts,
    numSlots,
    numRanks,
    numNodes,
    numSamples,
    slotsPerRank?.ptr ?? 0,
    previous.ptr,
    fresh?.ptr ?? 0,
    price,
    maxMoves,
    maxEvaluations,
    numKicks,
    cancel?.().ptr ?? 0,
    phyToLog.ptr,
    replicaRank.ptr,
    stats.ptr,
    arena.scratch(rows + costs + counts + 448),
  );
  arena.check();
  const [before = 0, after = 0, moves = 0, evaluations = 0, work = 0] = stats.view;
  return {
    phyToLog: phyToLog.view.slice(),
    replicaRank: replicaRank.view.slice(),
    before,
    after,
    moves,
    evaluations,
    work,
  };
}

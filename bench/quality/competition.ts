import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  DefaultEplbPolicy,
  ExpertMapping,
  layerBalances,
} from 'expert-load-balancer';
import { samplesOf, sumOf } from './protocol.ts';
import type { Row } from './recordings.ts';

// The cost model of the public 'MoE dynamic load-balancing' competition: modelled time = 60 s x mean PAR over
// steps and layers, and the bytes of moved slots at the speed of the fast network. A slot is moved when its
// id differs from the one before in the same position. A new table is applied one layer a step, in the
// planner's order, and planning delays it. Loads of 0 are read as 1.
const SECONDS_AT_BALANCE = 60;
const SECONDS_PER_MOVED_SLOT = 88_080_384 / 900e9;
const SECONDS_PER_STEP = 0.08;

/** A table, and the order its layers are to be applied in; layers that stay as they are need not be named. */
interface Proposal {
  readonly mapping: ExpertMapping;
  readonly order: readonly number[];
}

/** Plans from the last steps, with what is live. */
type Planner = (row: Row, window: readonly Float32Array[], live: ExpertMapping) => Proposal;

/** Makes a planner for each run: it may remember what it has proposed. */
type Competitor = () => Planner;

interface Outcome {
  readonly seconds: number;
  readonly meanPar: number;
  readonly movedSlots: number;
  readonly plans: number;
  /** Of a plan, in the mean. */
  readonly planMs: number;
}

/** A table on its way, from the step on when it is planned. */
interface Pending {
  readonly rows: readonly number[][];
  readonly order: number[];
  readonly from: number;
}

/** Runs a recording through; a plan sees at most `window` steps, and is asked for every `every` steps. */
function compete(row: Row, competitor: Competitor, window: number, every: number): Outcome {
  const plan = competitor();
  const { numLayers, numExperts } = row.steps;
  const loads = row.steps.loads.map((step) => step.map((load) => (load === 0 ? 1 : load)));
  const table = firstTable(row);
  // The table that is being applied, and those that are still being planned.
  let current: Pending = { rows: table, order: [], from: 0 };
  const planning: Pending[] = [];
  const sums = { par: 0, moved: 0, plans: 0, ms: 0 };
  for (const [step, data] of loads.entries()) {
    if (step > 0 && step % every === 0) {
      const live = ExpertMapping.fromPhysicalToLogical(table, numExperts);
      const begin = performance.now();
      const { mapping, order } = plan(row, loads.slice(Math.max(0, step - window), step), live);
      const ms = performance.now() - begin;
      sums.ms += ms;
      sums.plans++;
      const delay = Math.ceil(ms / 1000 / SECONDS_PER_STEP);
      planning.push({ rows: mapping.toJSON().phyToLog, order: [...order], from: step + delay });
    }
    while (planning.length > 0 && planning[0]!.from <= step) current = planning.shift()!;
    sums.moved += applyNext(table, current);
    const live = ExpertMapping.fromPhysicalToLogical(table, numExperts);
    for (const balance of layerBalances({ data, numLayers, numExperts }, live, row.numRanks)) {
      sums.par += balance.maxRankLoad / balance.meanRankLoad;
    }
  }
  const meanPar = sums.par / loads.length / numLayers;
  return {
    seconds: SECONDS_AT_BALANCE * meanPar + sums.moved * SECONDS_PER_MOVED_SLOT,
    meanPar,
    movedSlots: sums.moved,
    plans: sums.plans,
    planMs: sums.plans === 0 ? 0 : sums.ms / sums.plans,
  };
}

/** The ranks get their experts in order; the last slots of a rank repeat the one before. */
function firstTable({ numSlots, numRanks, steps: { numLayers, numExperts } }: Row): number[][] {
  const slotsPerRank = numSlots / numRanks;
  const perRank = numExperts / numRanks;
  const row = Array.from({ length: numSlots }, (_, slot) => {
    const rank = Math.floor(slot / slotsPerRank);
    return rank * perRank + Math.min(slot % slotsPerRank, perRank - 1);
  });
  return Array.from({ length: numLayers }, () => [...row]);
}

/** Applies the next layer that changes. @returns slots that moved */
function applyNext(table: number[][], { rows, order }: Pending): number {
  for (let layer = order.shift(); layer !== undefined; layer = order.shift()) {
    const next = rows[layer]!;
    const moved = next.reduce((sum, expert, slot) => sum + (expert === table[layer]![slot] ? 0 : 1), 0);
    if (moved === 0) continue;
    table[layer] = next;
    return moved;
  }
  return 0;
}

/** The default policy: experts that stay on their rank keep their slots; layers in order. */
export const competeByDefault: Competitor = () => (row, window, previous) => {
  const weight = sumOf(window, row);
  const mapping = new DefaultEplbPolicy().rebalanceExperts(weight, row.numSlots, 1, 1, row.numRanks, {
    previous,
  });
  return { mapping, order: Array.from({ length: row.steps.numLayers }, (_, layer) => layer) };
};

/**
 * The adaptive policy: layers that gain most first, but not the one that is changed in this very step, by the
 * last proposal.
 */
export function competeByAdaptive(options: AdaptiveEplbPolicyOptions): Competitor {
  const policy = new AdaptiveEplbPolicy(options);
  return () => {
    let proposed: Proposal | undefined;
    return (row, window, previous) => {
      const toCome = proposed?.mapping.movesPerLayerFrom(previous, row.numRanks);
      const underWay = proposed?.order.find((layer) => toCome![layer]! > 0);
      const decision = policy.planExperts(samplesOf(window, row), row.numSlots, 1, 1, row.numRanks, {
        previous,
      });
      const gains = decision.status === 'planned' ? (decision.forecast?.gainPerLayer ?? []) : [];
      const order = [...gains.keys()].filter((layer) => layer !== underWay);
      order.sort((a, b) => gains[b]! - gains[a]! || a - b);
      proposed = { mapping: decision.mapping, order };
      return proposed;
    };
  };
}

/** The best of several ways to run a recording. */
export function bestOf(
  row: Row,
  competitor: Competitor,
  windows: readonly number[],
  cadences: readonly number[],
): Outcome & { readonly window: number; readonly every: number } {
  const outcomes = windows.flatMap((window) =>
    cadences.map((every) => ({ ...compete(row, competitor, window, every), window, every })),
  );
  return outcomes.reduce((best, outcome) => (outcome.seconds < best.seconds ? outcome : best));
}

import { numOpenSlots } from '../core/open-slots.ts';
import { rowsOf } from '../formats/placements/whole-table.ts';
import {
  type BalanceSummary,
  balancedness,
  type Dispatch,
  type ExpertMapping,
  type KeptReason,
  type LoadMatrix,
  layerBalances,
  peakToAverage,
  type Survival,
  summarizeBalance,
  type Topology,
} from '../index.ts';
import { rankLayoutOf } from '../mapping/relay-ranks.ts';
import { type PlanLayout, type PlanStart, relaid } from './plan-start.ts';

/** What was read, and how it was understood. */
export interface RecordingReport {
  readonly path: string;
  /** `npy, uint8` or `json`. */
  readonly format: string;
  readonly shape: readonly number[];
  readonly readAs: 'routes' | 'loads';
  /** Experts chosen per token; null for loads. */
  readonly topK: number | null;
  /** What the reader assumed or left out, one sentence each. */
  readonly notes: readonly string[];
  /** Tokens of routes that make a step; null for loads. */
  readonly tokensPerStep: number | null;
  /** The steps that were used, half-open, and how many there are. */
  readonly steps: { readonly from: number; readonly to: number; readonly of: number };
}

/** One layer before and after. */
interface LayerReport {
  readonly layer: number;
  readonly balancednessBefore: number;
  readonly balancednessAfter: number;
  readonly peakToAverageBefore: number;
  readonly peakToAverageAfter: number;
  readonly moves: number;
}

/** Everything that `eplb plan` reports; what `--json` prints. */
export interface PlanReport {
  readonly kind: 'plan-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly recording: RecordingReport;
  readonly topology: Topology;
  readonly policy: string;
  /** Worker threads; 0 when the plan was made in the main thread. */
  readonly threads: number;
  /** The placement it started from; null for the initial mapping (expert i in slot i). */
  readonly startFrom: string | null;
  /** Ranks of that placement; null for the initial mapping. */
  readonly startRanks: number | null;
  /** Ranks that retire, rising: their slots are empty. */
  readonly retired: readonly number[];
  /** Why the policy keeps the placement it started from; null when it plans another. */
  readonly kept: KeptReason | 'the plan balances worse' | null;
  /** What is doubtful about the plan, one sentence each. */
  readonly notes: readonly string[];
  readonly planningMs: number;
  readonly before: BalanceSummary;
  readonly after: BalanceSummary;
  readonly moves: number;
  /** Slots of all layers that may hold an expert: what {@link moves} is out of. */
  readonly slots: number;
  readonly layers: readonly LayerReport[];
  /** What survives any single failure, and what that costs; null where it was not asked for. */
  readonly survival: PlannedSurvival | null;
  readonly output: string | null;
  /** Name of the format it is written in. */
  readonly outputFormat: string | null;
  /** What had to be assumed or dropped to write it, one sentence each. */
  readonly outputNotes: readonly string[];
  readonly digest: string;
  /**
   * [layers][slots], the expert of each; -1 where a slot is empty. No engine reads this: `-o` writes a
   * placement.
   */
  readonly physicalToLogical: readonly (readonly number[])[];
}

/** What survives any single failure, in all layers together. */
export interface PlannedSurvival extends Pick<Survival, 'level' | 'numDomains' | 'overall'> {
  /** Balance and moves of the plan that is made for balance alone. */
  readonly without: { readonly after: BalanceSummary; readonly moves: number };
}

/** The measured part of a {@link PlanReport}. */
export type PlanMeasures = Pick<
  PlanReport,
  'before' | 'after' | 'moves' | 'slots' | 'layers' | 'digest' | 'physicalToLogical'
>;

/** What a plan is compared with. */
export interface PlanSides {
  /** As the plan is laid out. */
  readonly previous: ExpertMapping;
  /** The same on its own ranks; undefined where it is the initial mapping. */
  readonly start: PlanStart | undefined;
  readonly layout: PlanLayout;
  /** Which copies tokens take; 'even' when left out. */
  readonly dispatch: Dispatch | undefined;
}

/** Compares two mappings on the same loads, each on the ranks that it has. */
export function measurePlan(
  loads: LoadMatrix,
  planned: ExpertMapping,
  { previous, start, layout, dispatch = 'even' }: PlanSides,
): PlanMeasures {
  const { topology, asked } = layout;
  const { numNodes, nodeOfRank } = topology;
  const near = { dispatch, numNodes, ...(nodeOfRank && { nodeOfRank }) };
  const { numRanks, slotsPerRank, rankSpeed, rules } = topology;
  const deadRanks = slotsPerRank?.flatMap((slots, rank) => (slots === 0 ? [rank] : [])) ?? [];
  const speeds = { ...(rankSpeed && { rankSpeed }), ...(rules && { rules }) };
  const onLive = (mapping: ExpertMapping) =>
    layerBalances(loads, mapping, numRanks, {
      ...{ ...speeds, ...near },
      ...(deadRanks.length > 0 && { deadRanks }),
    });
  const before =
    start === undefined
      ? onLive(previous)
      : layerBalances(
          loads,
          start.mapping,
          start.layout.numRanks,
          start.layout.numRanks === numRanks ? { ...speeds, ...near } : {},
        );
  const after = onLive(planned);
  const moves = planned.movesPerLayerFrom(previous, numRanks);
  const result = relaid(planned, rankLayoutOf(topology), rankLayoutOf(asked));
  const layers = after.map((layerAfter, layer) => ({
    layer,
    balancednessBefore: balancedness(before[layer]!),
    balancednessAfter: balancedness(layerAfter),
    peakToAverageBefore: peakToAverage(before[layer]!),
    peakToAverageAfter: peakToAverage(layerAfter),
    moves: moves[layer]!,
  }));
  return {
    before: summarizeBalance(before),
    after: summarizeBalance(after),
    moves: moves.reduce((sum, count) => sum + count, 0),
    slots: result.numLayers * numOpenSlots(asked),
    layers,
    digest: result.digest(),
    physicalToLogical: rowsOf(result.phyToLog, result.numPhysicalExperts),
  };
}

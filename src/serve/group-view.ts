import { sharedParts } from '../balancer/expert-load-balancer.ts';
import type { BrokenRule, ExpertLoadBalancer, RealisedGain } from '../index.ts';
import type { ConditionType, WatchCondition } from '../watch/watchdog.ts';
import type { FullDeclaration } from './declaration.ts';
import type { EpochUnderWay, RankCounts } from './epochs/epoch-view.ts';
import type { Ages } from './metrics.ts';

/** One thing that is so or not, with the reason: as conditions of other control planes are. */
export interface Condition {
  readonly type:
    | 'Ready'
    | 'LoadsReported'
    | 'WindowFull'
    | 'Offering'
    | 'Durable'
    | 'RulesKept'
    | ConditionType;
  readonly status: boolean;
  readonly reason: string;
}

/** What `GET /v1/groups/{group}` answers. */
export interface GroupView extends FullDeclaration {
  readonly group: string;
  /** Raised whenever the engine said that another mapping went live. */
  readonly epoch: number;
  /** SHA-256 of the live mapping's bytes. */
  readonly digest: string;
  readonly paused: boolean;
  readonly dryRun: boolean;
  readonly conditions: readonly Condition[];
  /** The attempt at the next epoch that is under way; null when none is. */
  readonly underWay: EpochUnderWay | null;
  /** How many ranks stand how. */
  readonly ranks: RankCounts;
  readonly window: {
    readonly steps: number;
    /** Where its steps are from: 'refilled' means from before the restart. */
    readonly source: 'empty' | 'refilled' | 'recorded';
    /** null before the first one. */
    readonly lastStep: number | null;
    /** Steps that were given up, as ranks were missing. */
    readonly incompleteSteps: number;
  };
  readonly counters: {
    readonly numSteps: number;
    readonly numPlanned: number;
    readonly numKept: number;
    readonly numMoves: number;
  };
  /** null before the first one since the service started. */
  readonly secondsSincePlan: number | null;
  readonly secondsSinceLoads: number | null;
  /** What the last mappings gained. */
  readonly gains: readonly RealisedGain[];
}

/** @returns the view of a group from its parts */
export function viewOf(group: {
  readonly name: string;
  readonly declaration: FullDeclaration;
  readonly epoch: number;
  readonly digest: string;
  readonly paused: boolean;
  readonly dryRun: boolean;
  readonly kept: { readonly isKept: boolean; readonly how: string };
  readonly underWay: EpochUnderWay | undefined;
  readonly ranks: RankCounts;
  /** Where the live mapping breaks the rules; undefined without rules. */
  readonly brokenRules: readonly BrokenRule[] | undefined;
  readonly balancer: ExpertLoadBalancer;
  readonly windowSource: GroupView['window']['source'];
  readonly lastStep: number | undefined;
  readonly numIncomplete: number;
  readonly counters: GroupView['counters'];
  readonly ages: Ages;
  /** What the watchdog finds. */
  readonly watched: readonly WatchCondition[];
}): GroupView {
  const { declaration, balancer, paused, dryRun, windowSource, counters, ages, kept, watched, brokenRules } =
    group;
  const { numSamples: steps, windowSize } = balancer;
  const hasLoads = steps > 0;
  const condition = (type: Condition['type'], status: boolean, reason: string) => ({ type, status, reason });
  return {
    ...declaration,
    group: group.name,
    epoch: group.epoch,
    digest: group.digest,
    paused,
    dryRun,
    conditions: [
      condition('Ready', true, 'plans are answered'),
      condition(
        'LoadsReported',
        hasLoads,
        hasLoads ? `the window is ${windowSource}` : 'the window is empty',
      ),
      condition('WindowFull', steps === windowSize, `${steps} of ${windowSize} steps`),
      condition('Offering', !paused && !dryRun, paused ? 'paused' : dryRun ? 'dry run' : 'plans are offered'),
      condition('Durable', kept.isKept, kept.how),
      ...(brokenRules === undefined ? [] : [rulesKept(brokenRules)]),
      ...watched,
    ],
    underWay: group.underWay ?? null,
    ranks: group.ranks,
    window: {
      steps,
      source: windowSource,
      lastStep: group.lastStep ?? null,
      incompleteSteps: group.numIncomplete,
    },
    counters,
    secondsSincePlan: ages.planSeconds ?? null,
    secondsSinceLoads: ages.loadSeconds ?? null,
    // Not by metrics(), which copies the window.
    gains: sharedParts(balancer).gains.gains,
  };
}

/** The first mapping and plans keep them; what an engine reports, or a repair that has no room, may not. */
function rulesKept(broken: readonly BrokenRule[]): Condition {
  const numLayers = new Set(broken.map(({ layer }) => layer)).size;
  const reason =
    broken.length === 0
      ? 'in all layers'
      : `the live mapping breaks them ${broken.length} times, in ${numLayers} layers`;
  return { type: 'RulesKept', status: broken.length === 0, reason };
}

// What the dashboard shows, as JSON. Times are milliseconds since 1970, by the service's clock. The page's
// script is made of these types too: they need nothing that browsers do not have.

/**
 * A point of the history: when it begins; the epoch; the balancedness of the steps measured in it, as mean,
 * lowest and highest; and the mean of the seconds that a step lost to imbalance, null without a cost model.
 */
export type HistoryPoint = readonly [
  at: number,
  epoch: number,
  mean: number,
  lowest: number,
  highest: number,
  secondsLost: number | null,
];

/** How balanced the group was over time: there are points only where steps were recorded. */
export interface HistorySpan {
  readonly secondsPerPoint: number;
  readonly maxPoints: number;
  readonly points: readonly HistoryPoint[];
}

/** The last minutes in detail, and the last hours. */
export interface GroupHistoryView {
  readonly minutes: HistorySpan;
  readonly hours: HistorySpan;
}

/** Balancedness, as sum of mean rank loads / sum of largest rank loads, before a plan and after it. */
export interface BeforeAfter {
  readonly before: number;
  readonly after: number;
}

/** A question for a plan and what came of it; the same again and again is one row. */
export interface PlanRow {
  /** The last time. */
  readonly at: number;
  readonly times: number;
  readonly status: 'planned' | 'kept' | 'failed';
  /** Why nothing was planned; empty for a plan. */
  readonly reason: string;
  readonly seconds: number;
  /** The epoch that was live. */
  readonly epoch: number;
  readonly digest: string | null;
  readonly moves: number;
  /** null without a cost model. */
  readonly bytes: number | null;
  /** What the plan makes of the loads that it was made for. */
  readonly predicted: BeforeAfter | null;
}

/** A mapping that went live: what was predicted of it, and what came. */
export interface LiveRow {
  readonly at: number;
  readonly epoch: number;
  readonly digest: string;
  readonly moves: number;
  readonly bytes: number | null;
  /** null where the engine went live with a mapping that was not planned here. */
  readonly predicted: BeforeAfter | null;
  /** Of the last steps measured under the mapping before, and of those under this one; null without any. */
  readonly realised: {
    readonly before: number | null;
    readonly after: number | null;
    readonly steps: number;
  };
  /** What a policy that forecasts said it would gain a step, and what it has gained. */
  readonly gain: {
    readonly unit: 'share' | 'seconds';
    readonly predicted: number | null;
    readonly realised: number;
    readonly steps: number;
    readonly isFinal: boolean;
  } | null;
}

/** What a group is, and how it stands: as its view has it. */
export interface DashboardGroup {
  readonly group: string;
  readonly policy: string;
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  readonly numNodes: number;
  readonly windowSize: number;
  readonly epoch: number;
  readonly digest: string;
  readonly paused: boolean;
  readonly dryRun: boolean;
  /** The attempt at the next epoch. */
  readonly underWay: { readonly epoch: number; readonly digest: string; readonly state: string } | null;
  /** How many ranks stand how. */
  readonly ranks: Readonly<Record<RankState, number>>;
  /** Whether a cost model says what steps take. */
  readonly hasCost: boolean;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: boolean;
    readonly reason: string;
  }[];
}

type RankState = 'serving' | 'unconfirmed' | 'fenced' | 'unknown' | 'suspected' | 'dead';

/** How balanced it is. */
export interface DashboardNow {
  readonly lastLoadsAt: number | null;
  readonly lastPlanAt: number | null;
  readonly window: {
    readonly steps: number;
    readonly source: 'empty' | 'refilled' | 'recorded';
    readonly lastStep: number | null;
    readonly incompleteSteps: number;
  };
  /** The newest step, as it was measured; null before the first one since the service started. */
  readonly newest: {
    readonly step: number;
    readonly epoch: number;
    readonly tokens: number;
    readonly balancedness: number;
    readonly secondsLost: number | null;
  } | null;
  /** The mean step of the window under the live mapping: what the metrics show. */
  readonly windowMean: {
    readonly balancedness: number;
    readonly secondsLost: number | null;
    readonly worstLayer: number;
    readonly worstRank: number;
    readonly activeExperts: number;
  } | null;
}

/** What was planned, and what came of it; newest first. */
export interface DashboardPlans {
  readonly counts: readonly { readonly result: string; readonly reason: string; readonly count: number }[];
  readonly last: readonly PlanRow[];
  readonly live: readonly LiveRow[];
  /** Of plans made, and of mappings that went live, since the service started. */
  readonly moves: { readonly planned: number; readonly live: number };
  readonly bytes: { readonly planned: number; readonly live: number } | null;
}

/** A rank load that stands out. */
export interface HotCell {
  readonly layer: number;
  readonly rank: number;
  /** In means of the layer. */
  readonly share: number;
}

/** Rank loads of the newest step, in means of their layer: as many cells as a picture has room for. */
export interface RankMap {
  /** null: the mean step of the window, which is from before the service started. */
  readonly step: number | null;
  readonly epoch: number;
  /** Whether the ranks counted what came to them, or it is shared out by the mapping. */
  readonly measured: 'slots' | 'experts';
  readonly tokens: number;
  readonly rows: number;
  readonly columns: number;
  /** A cell shows the highest of so many layers and ranks. */
  readonly layersPerRow: number;
  readonly ranksPerColumn: number;
  /** A cell's byte x this is its share; 255 is a cell all of whose ranks are dead. */
  readonly scale: number;
  /** [rows x columns], a byte each, in base64. */
  readonly cells: string;
  /** The highest first. */
  readonly hottest: readonly HotCell[];
}

/** All that the dashboard shows of a group. */
export interface DashboardView {
  readonly at: number;
  readonly group: DashboardGroup;
  readonly now: DashboardNow;
  readonly plans: DashboardPlans;
  readonly history: GroupHistoryView;
  readonly rankLoads: RankMap | null;
}

/** What has changed of it: parts that are left out have not. Points take the place of those of their time. */
export interface DashboardUpdate extends Partial<Omit<DashboardView, 'at' | 'history'>> {
  readonly at: number;
  readonly points?: { readonly minutes: readonly HistoryPoint[]; readonly hours: readonly HistoryPoint[] };
}

/** A group in the list of all. */
export interface OverviewRow
  extends Pick<
    DashboardGroup,
    'group' | 'policy' | 'numLayers' | 'numRanks' | 'epoch' | 'paused' | 'dryRun'
  > {
  /** Where the attempt at the next epoch is. */
  readonly state: string | null;
  /** What the watchdog has flagged. */
  readonly flagged: readonly string[];
  readonly deadRanks: number;
  /** Of the newest step that was measured. */
  readonly balancedness: number | null;
  readonly secondsLost: number | null;
  readonly lastLoadsAt: number | null;
  readonly lastPlanAt: number | null;
}

/** All groups; of very many those that are flagged first. */
export interface OverviewView {
  readonly at: number;
  readonly version: string;
  readonly numGroups: number;
  readonly numFlagged: number;
  readonly groups: readonly OverviewRow[];
}

/** What has changed of them. */
export interface OverviewUpdate extends Omit<OverviewView, 'version'> {
  /** No longer among them. */
  readonly gone: readonly string[];
}

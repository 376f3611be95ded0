export type {
  DeclaredRanks,
  FullDeclaration,
  GroupDeclaration,
  MigrationTimes,
  PlanBudgets,
} from './declaration.ts';
export type { EpochUnderWay, RankCounts } from './epochs/epoch-view.ts';
export { CHANNELS, type CommitEvent, type LoadEvent, type PlanEvent, type RefusalEvent } from './events.ts';
export type { Condition, GroupView } from './group-view.ts';
export type { MetricsFormat } from './metrics.ts';
export { type BalancerObservation, type ObserveOptions, observeBalancer, openMetrics } from './observe.ts';
export { openApiDocument } from './openapi.ts';
export { type RunningService, type ServeHooks, startService } from './server.ts';
export {
  type ListenAddress,
  readSettings,
  type ServeLimits,
  type ServeOptions,
  type ServeSettings,
} from './settings.ts';

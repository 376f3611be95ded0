export type { RankSet } from '../formats/topology/rank-set.ts';
export type { RulesFile } from '../formats/topology/rules-json.ts';
export type { TopologyFile } from '../formats/topology/topology-json.ts';
export type { ClusterEvent, ClusterView } from './cluster/cluster.ts';
export type { EtcdOptions, EtcdSettings } from './cluster/etcd-settings.ts';
export type {
  DeclaredRanks,
  FullDeclaration,
  GroupDeclaration,
  MigrationTimes,
  PlanBudgets,
} from './declaration.ts';
export type { EpochUnderWay, RankCounts } from './epochs/epoch-view.ts';
export type { Condition, GroupView } from './group-view.ts';
export { openApiDocument } from './openapi.ts';
export { type RunningService, type ServeHooks, startService } from './server.ts';
export {
  type ListenAddress,
  readSettings,
  type ServeLimits,
  type ServeOptions,
  type ServeSettings,
} from './settings.ts';
export type { VllmEvent, VllmView } from './vllm-faults.ts';

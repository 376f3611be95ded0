export type {
  AbortReason,
  ApplyTransfer,
  ExpertTransfer,
  RebalancerTransferOptions,
  TransferAbort,
} from './balancer/apply-transfer.ts';
export {
  AsyncExpertRebalancer,
  type AsyncExpertRebalancerOptions,
} from './balancer/async-expert-rebalancer.ts';
export type { CommitOptions } from './balancer/commit-options.ts';
export { ExpertLoadBalancer } from './balancer/expert-load-balancer.ts';
export type { GainUnit } from './balancer/gain-meter.ts';
export type { RealisedGain } from './balancer/gain-record.ts';
export { type EplbMetrics, ExpertType } from './balancer/metrics.ts';
export type { ExpertLoadBalancerOptions } from './balancer/options.ts';
export type { PlanOptions, RebalanceOptions } from './balancer/plan-request.ts';
export type { RebalanceOutcome, RebalancerEvents, SkipReason } from './balancer/rebalance-outcome.ts';
export type { ShadowGain } from './balancer/shadow.ts';
export type { TopologyChange, TopologyChanged } from './balancer/topology-change.ts';
export type { Dispatch } from './core/dispatch.ts';
export { EplbError, type EplbErrorCode, EplbRangeError, EplbTypeError } from './core/errors.ts';
export {
  CHANNELS,
  type CommitEvent,
  type ConditionEvent,
  type EplbEvents,
  type GroupEvent,
  type LoadEvent,
  type MigrationStatusEvent,
  type PlanEvent,
  type RefusalEvent,
  type TopologyEvent,
} from './core/events.ts';
export type {
  PinnedExperts,
  PlacementRules,
  SharedExpert,
  SingleExperts,
} from './core/placement-rules.ts';
export type { BrokenRule } from './core/rule-book.ts';
export type { FailureDomains, RankOptions, Topology } from './core/topology.ts';
export type { CostModelInit, CostModelJson, Link, LinkClass, MoveCost } from './cost/cost-json.ts';
export {
  CostModel,
  type LayerTimeOptions,
  type RankTimeOptions,
  type ReceivedTokens,
  type SlotTokens,
} from './cost/cost-model.ts';
export {
  type CostSummary,
  type LayerCostOptions,
  layerCosts,
  summarizeCost,
  type TimeBound,
} from './cost/layer-costs.ts';
export type { LayerCost } from './cost/layer-timer.ts';
export { costModel } from './cost/make.ts';
export { type CostPresetNames, costPresetNames } from './cost/presets.ts';
export type { SlotCurveJson, SlotRoofline, SlotTable } from './cost/slot-curve.ts';
export {
  type LinkTraffic,
  loadTraffic,
  type RouteTrafficOptions,
  routeTraffic,
  type Traffic,
  type TrafficOptions,
} from './cost/traffic.ts';
export {
  type BalanceRanks,
  type BalanceSummary,
  balancedness,
  type LayerBalance,
  layerBalances,
  peakToAverage,
  summarizeBalance,
} from './loads/balancedness.ts';
export {
  type CoactivationMatrix,
  CoactivationRecorder,
  type CoactivationRecorderOptions,
  type Routes,
} from './loads/coactivation.ts';
export type { LoadMatrix, LoadRow, LoadsInput } from './loads/load-matrix.ts';
export type { LoadSamples } from './loads/load-samples.ts';
export { type DispatchOptions, type SlotLoads, slotLoads } from './loads/slot-loads.ts';
export type { SourceLoads } from './loads/source-loads.ts';
export { ExpertMapping, type ExpertMappingJson } from './mapping/expert-mapping.ts';
export type { ExpertMappingInit } from './mapping/mapping-init.ts';
export { type RetireOptions, ranksToRetire } from './mapping/ranks-to-retire.ts';
export { AbstractEplbPolicy, type PolicyContext, type PolicyNeeds } from './policy/abstract.ts';
export type { LocalityAwarePolicyOptions } from './policy/adaptive/locality-options.ts';
export type { AdaptiveCostModel, AdaptiveEplbPolicyOptions } from './policy/adaptive/options.ts';
export { AdaptiveEplbPolicy } from './policy/adaptive/policy.ts';
export type { AdaptiveEffort } from './policy/adaptive/request.ts';
export { brokenRules } from './policy/broken-rules.ts';
export {
  type BalancedPacking,
  computeBalancedPacking,
  computeExpertReplication,
  computeLoadImbalance,
  type ExpertReplication,
} from './policy/compute.ts';
export type { BalancerDecision, KeptReason, PlanDecision, PlanForecast } from './policy/decision.ts';
export { DefaultEplbPolicy } from './policy/default.ts';
export { LocalityAwarePolicy } from './policy/locality.ts';
export { type OrphanLoad, type Repair, type RepairOptions, repair } from './policy/repair/repair.ts';
export {
  type DomainLoss,
  type LayerSurvival,
  type Survival,
  type SurvivalOptions,
  type SurvivalSummary,
  survival,
} from './policy/survive/survival.ts';
export { type ConnectedBalancer, type ConnectOptions, connectBalancer } from './share/connect.ts';
export { shareBalancer } from './share/host.ts';
export { checkTransfer, type TransferCheck } from './transfer/check-transfer.ts';
export type {
  HostLoad,
  LayerBounds,
  RankSlot,
  Transfer,
  TransferCopy,
  TransferLayer,
  UndoneSlot,
} from './transfer/layer.ts';
export type { RearrangedLayer, WeightsState } from './transfer/layer-copies.ts';
export type { ExpertTensor, TransferMode, TransferOptions, TransferSchedule } from './transfer/options.ts';
export { TransferPlan } from './transfer/plan.ts';
export type {
  TransferDigests,
  TransferFigures,
  TransferPlanHead,
  TransferPlanJson,
} from './transfer/plan-json.ts';
export { planTransfer } from './transfer/plan-transfer.ts';
export type { RankWeights, SharedTensor } from './transfer/rank-weights.ts';
export {
  type RearrangeOptions,
  type RearrangeProgress,
  type RearrangeResult,
  rearrangeExpertWeights,
} from './transfer/rearrange.ts';
export type { MetricsFormat } from './watch/exposition.ts';
export type { MetricsTextOptions } from './watch/group-watch.ts';
export {
  type BalancerObservation,
  type ObserveOptions,
  observeBalancer,
  openMetrics,
} from './watch/observe.ts';
export type { ConditionType, WatchCondition, WatchdogOptions } from './watch/watchdog.ts';

export {
  bytesPerExpert,
  type ExpertDtype,
  flopsPerLoad,
  MODEL_SHAPES,
  type ModelShape,
  modelShape,
  shapeLike,
} from '../cost/model-shapes.ts';
export type { StepSource } from '../formats/check-recording.ts';
export type {
  LoadRecording,
  RecordedRoutes,
  RecordedStep,
  RouteRun,
  StepRange,
} from '../formats/recording.ts';
export { adviseReplays, type BatchText } from './advice.ts';
export * from './configuration.ts';
export { checkCostModel } from './cost-model.ts';
export {
  COMPETITION,
  COMPETITION_INTERVAL,
  COST_PRESETS,
  competitionStart,
  costPreset,
  DEFAULT_DEVICE,
  H100,
  type Hardware,
  hardwareCost,
  modelLike,
  type ReplayCostInit,
  replayCost,
} from './cost-presets.ts';
export { inspect } from './inspect.ts';
export type {
  HotExpert,
  InspectedPlacement,
  Inspection,
  InspectOptions,
  LayerSkew,
  NoiseShare,
  PlacementInspection,
  TimeInspection,
} from './inspection.ts';
export { samplingNoisePeak } from './noise.ts';
export type { ReplayOptions, ReplayProgress } from './options.ts';
export { fixedPlanningSeconds } from './planning-time.ts';
export * from './rank-change-result.ts';
export type { RankEvent } from './rank-events.ts';
export { replay } from './replay.ts';
export { type ReplayReportOptions, replayReport } from './report.ts';
export { resized } from './resize.ts';
export * from './result.ts';
export * from './savings.ts';
export { slotCost } from './slot-cost.ts';
export type { ReplaySource } from './source.ts';
export { savedSpread } from './spread.ts';
export { type AdviceTexts, advise, paretoFront, sweepPoint, sweepResult } from './sweep.ts';
export * from './sweep-result.ts';
export { SYNTH_DEFAULTS, SyntheticLoads, type SynthInit, type SynthOptions, synthesize } from './synth.ts';
export * from './traffic-result.ts';

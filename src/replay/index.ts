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
export * from './configuration.ts';
export { checkCostModel } from './cost-model.ts';
export {
  COMPETITION,
  COMPETITION_INTERVAL,
  COST_PRESETS,
  competitionStart,
  costPreset,
  H100,
  type Hardware,
  hardwareCost,
  slotCost,
} from './cost-presets.ts';
export { inspect } from './inspect.ts';
export type {
  HotExpert,
  Inspection,
  InspectOptions,
  LayerSkew,
  NoiseShare,
  TimeInspection,
} from './inspection.ts';
export { samplingNoisePeak } from './noise.ts';
export type { ReplayOptions, ReplayProgress } from './options.ts';
export { replay } from './replay.ts';
export { type ReplayReportOptions, replayReport } from './report.ts';
export * from './result.ts';
export type { ReplaySource } from './source.ts';
export { type AdviceTexts, advise, paretoFront, sweepPoint, sweepResult } from './sweep.ts';
export * from './sweep-result.ts';
export { SYNTH_DEFAULTS, SyntheticLoads, type SynthInit, type SynthOptions, synthesize } from './synth.ts';

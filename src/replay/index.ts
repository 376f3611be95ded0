export type {
  LoadRecording,
  RecordedRoutes,
  RecordedStep,
  RouteRun,
  StepRange,
} from '../formats/recording.ts';
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
} from './cost-presets.ts';
export {
  bytesPerExpert,
  type ExpertDtype,
  flopsPerLoad,
  MODEL_SHAPES,
  type ModelShape,
  modelShape,
} from './model-shapes.ts';
export type { ReplayOptions, ReplayProgress } from './options.ts';
export { type ReplaySource, replay } from './replay.ts';
export * from './result.ts';

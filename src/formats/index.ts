export type { FormatFacts } from './format.ts';
export { FORMATS } from './list.ts';
export { openRecording } from './open.ts';
export type { OpenOptions } from './open-options.ts';
export { mappingOf, placementFrom } from './placements/mapping.ts';
export { type OpenPlacementOptions, openPlacement, parsePlacement } from './placements/open.ts';
export type { Placement, PlacementWriteOptions, WrittenPlacement } from './placements/placement.ts';
export { writePlacement } from './placements/write.ts';
export type { LoadRecording, RecordedRoutes, RecordedStep, RouteRun, StepRange } from './recording.ts';

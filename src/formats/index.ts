export type { FormatFacts } from './format.ts';
export { openRecording } from './open.ts';
export type { OpenOptions } from './open-options.ts';
export type { EngineVerdict } from './placements/engines.ts';
export type { Occurrence, PlacementFacts } from './placements/inspect.ts';
export { mappingOf, placementFrom } from './placements/mapping.ts';
export { type OpenPlacementOptions, openPlacement, parsePlacement } from './placements/open.ts';
export type {
  KeyProblem,
  Placement,
  PlacementWriteOptions,
  WrittenPlacement,
} from './placements/placement.ts';
export { type PlacementValidation, validatePlacement } from './placements/validate.ts';
export { writePlacement } from './placements/write.ts';
export type { LoadRecording, RecordedRoutes, RecordedStep, RouteRun, StepRange } from './recording.ts';
export { FORMATS } from './registry.ts';
export type { RankSet } from './topology/rank-set.ts';
export { readRules } from './topology/read-rules.ts';
export { readTopology } from './topology/read-topology.ts';
export { type RulesFile, rulesFromJson } from './topology/rules-json.ts';
export { type DeviceTopology, type TopologyFile, topologyFromJson } from './topology/topology-json.ts';
export type { StepsToWrite } from './write/load-chunks.ts';
export { writeLoads } from './write/loads.ts';

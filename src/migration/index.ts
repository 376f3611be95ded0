export { MigrationCoordinator, type MigrationCoordinatorOptions } from './coordinator.ts';
export { CoordinatorMachine } from './coordinator-machine.ts';
export type { CoordinatorMachineOptions } from './coordinator-options.ts';
export type {
  Answered,
  CoordinatorOutput,
  MigrationEvent,
  MigrationView,
  OfferAnswer,
  OperationView,
  RequestAnswer,
} from './coordinator-output.ts';
export { FileJournal } from './file-journal.ts';
export { MemoryJournal, type MigrationJournal } from './journal.ts';
export type { CoordinatorMessage, HeldEpoch, RankMessage } from './messages.ts';
export type {
  FencedRank,
  MigrationAbortReason,
  MigrationPhase,
  MigrationTarget,
  OperationOutcome,
} from './outcome.ts';
export {
  MigrationRank,
  type MigrationRankOptions,
  type PreparedOperation,
  type WeightHost,
} from './rank.ts';
export {
  type OpenState,
  type RankAction,
  RankMachine,
  type RankMachineOptions,
  type RankOutput,
  type RankView,
  type StepAnswer,
} from './rank-machine.ts';
export type { Activation, Checkpoint, JournalRecord, LayerState, RankEntry, RankState } from './records.ts';
export { type CoordinatorTransport, MemoryTransport, type RankTransport } from './transport.ts';

import type { CoordinatorMessage, HeldEpoch } from './messages.ts';
import type { MigrationPhase, OperationOutcome } from './outcome.ts';
import type { JournalRecord, LayerState, RankState } from './records.ts';

/** What a coordinator did, for those who watch. */
export type MigrationEvent =
  | {
      readonly type: 'begun' | 'prepared';
      readonly operationId: string;
      readonly layers: readonly number[];
    }
  | {
      readonly type: 'decided';
      readonly operationId: string;
      readonly epoch: number;
      readonly firstStep: number;
    }
  | { readonly type: 'ended'; readonly operationId: string; readonly outcome: OperationOutcome }
  | { readonly type: 'fenced'; readonly rank: number; readonly reason: string }
  | { readonly type: 'admitted' | 'confirmed'; readonly rank: number; readonly epoch: number };

/**
 * What an input comes to. **The records are to be durable before any of the messages leaves, and before an
 * event or an answer is told.** Who cannot make them durable sends nothing, drops the machine, and makes a
 * new one from the journal.
 */
export interface CoordinatorOutput {
  /** To be appended to the journal as one: all or none. */
  readonly records: readonly JournalRecord[];
  readonly messages: readonly { readonly rank: number; readonly message: CoordinatorMessage }[];
  readonly events: readonly MigrationEvent[];
}

/** What is answered to an offer. */
export type OfferAnswer =
  /** It is under way, since now or before. */
  | { readonly status: 'accepted'; readonly epoch: number }
  /** It has ended before. */
  | { readonly status: 'ended'; readonly outcome: OperationOutcome }
  | {
      readonly status: 'refused';
      /**
       * `competing`: another operation is under way. `renamed`: this operation has another target. `stale`:
       * planned from another epoch. `unchanged`: the target is live. `unconfirmed`: ranks have not said that
       * they are at the live epoch. `no ranks`: none serves.
       */
      readonly reason: 'competing' | 'renamed' | 'stale' | 'unchanged' | 'unconfirmed' | 'no ranks';
      readonly text: string;
    };

/** What is answered to a request for an activation or an abort. */
export type RequestAnswer =
  | { readonly status: 'accepted' }
  | { readonly status: 'ended'; readonly outcome: OperationOutcome }
  /** It was decided already, and goes on. */
  | { readonly status: 'decided' }
  | { readonly status: 'unknown' };

/** An operation as it is now. */
export interface OperationView {
  readonly operationId: string;
  readonly digest: string;
  readonly layers: readonly number[];
  /** The epoch that it raises the group to. */
  readonly epoch: number;
  readonly phase: MigrationPhase;
  /** The ranks that take part, and those of them that the phase waits for. */
  readonly ranks: readonly number[];
  readonly waitingFor: readonly number[];
  readonly firstStep?: number;
}

/** All of a group as it is now: a copy. */
export interface MigrationView extends HeldEpoch {
  readonly layers: readonly LayerState[];
  readonly ranks: readonly {
    readonly state: RankState;
    readonly reason: string;
    /** When a message of its present process came, by the clock of the inputs. */
    readonly heardMs?: number;
  }[];
  readonly operation?: OperationView;
  /** Messages that came too late, twice, or from a process that is gone. */
  readonly numIgnored: number;
}

/** An output with an answer for who asked. It is told when the records are durable. */
export type Answered<T> = CoordinatorOutput & { readonly answer: T };

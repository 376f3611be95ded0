import type { MigrationView } from '../../migration/coordinator-output.ts';
import type { FencedRank, MigrationAbortReason, OperationOutcome } from '../../migration/outcome.ts';
import type { Coordination } from './coordination.ts';
import type { LeaseState, RankBook } from './rank-book.ts';

/** How the attempt to go to an epoch stands, or how it ended. */
export interface EpochView {
  readonly epoch: number;
  readonly digest: string;
  /** Names the attempt; null for an epoch that the engine went to by itself. */
  readonly operationId: string | null;
  /** `fenced`: it is live, and the ranks in `fencedRanks` are out. */
  readonly state: 'preparing' | 'prepared' | 'arming' | 'activating' | 'active' | 'fenced' | 'aborted';
  /** Those that change. */
  readonly layers: readonly number[];
  /** Of them those that all ranks have prepared. */
  readonly preparedLayers: readonly number[];
  /** Those that take part. */
  readonly ranks: readonly number[];
  /** Of them those whose answer is waited for. */
  readonly waitingFor: readonly number[];
  /** The first step of the new epoch, once that is decided. */
  readonly firstStep: number | null;
  /** Why it was aborted. */
  readonly reason: MigrationAbortReason | null;
  readonly fencedRanks: readonly FencedRank[];
  /** Since it was offered, or since the service started. */
  readonly secondsUnderWay: number | null;
}

/** The attempt at the next epoch that is under way. */
export interface EpochUnderWay {
  readonly epoch: number;
  readonly digest: string;
  readonly state: 'preparing' | 'prepared' | 'arming' | 'activating';
}

/** A rank: what it holds a lease of, and how it stands in the protocol. */
export interface EpochRankView {
  readonly rank: number;
  readonly lease: LeaseState;
  /**
   * `serving` the live epoch; `unconfirmed`: it serves that or nothing; `fenced`: it serves nothing;
   * `unknown`: it was never heard of.
   */
  readonly state: 'serving' | 'unconfirmed' | 'fenced' | 'unknown';
  /** Why it is fenced or dead. */
  readonly reason: string;
  readonly incarnation: number | null;
  readonly speed: number;
  readonly secondsSinceHeartbeat: number | null;
}

/** Ranks of a group by how they stand, for its view. */
export interface RankCounts {
  readonly serving: number;
  readonly unconfirmed: number;
  readonly fenced: number;
  readonly unknown: number;
  readonly suspected: number;
  readonly dead: number;
}

/** The name of an attempt: its epoch, and what the host calls it. */
export const operationName = (epoch: number, id: string): string => `${epoch}/${id}`;
/** The epoch of an attempt's name, and its host's name for it. */
export function readOperationName(name: string): { readonly epoch: number; readonly id: string } {
  const at = name.indexOf('/');
  return { epoch: Number(name.slice(0, at)), id: name.slice(at + 1) };
}

const NOTHING = {
  ...{ operationId: null, layers: [], preparedLayers: [], ranks: [], waitingFor: [], firstStep: null },
  ...{ reason: null, fencedRanks: [], secondsUnderWay: null },
} as const;

/** An epoch that nobody prepared for here: the first one, or one that the engine went to by itself. */
export function plainView(epoch: number, digest: string): EpochView {
  return { ...NOTHING, epoch, digest, state: 'active' };
}

/** The attempt that is under way. */
export function openView(
  { operation, layers }: MigrationView & { readonly operation: object },
  secondsUnderWay: number,
): EpochView {
  const { operationId, epoch, digest, phase, ranks, waitingFor, firstStep = null } = operation;
  const isPrepared = (layer: number) => layers[layer] !== 'preparing';
  return {
    ...NOTHING,
    ...{ epoch, digest, operationId: readOperationName(operationId).id, state: phase },
    ...{ layers: operation.layers, preparedLayers: operation.layers.filter(isPrepared) },
    ...{ ranks, waitingFor, firstStep, secondsUnderWay },
  };
}

/** One that has ended. */
export function endedView(outcome: OperationOutcome): EpochView {
  const { operationId, digest, layers, status } = outcome;
  const { epoch, id } = readOperationName(operationId);
  const common = { ...NOTHING, epoch, digest, operationId: id, state: status, layers };
  if (outcome.status === 'aborted') return { ...common, reason: outcome.reason };
  const { firstStep } = outcome;
  const fencedRanks = outcome.status === 'fenced' ? outcome.ranks : [];
  return { ...common, preparedLayers: layers, firstStep, fencedRanks };
}

/** All ranks. */
export function rankViews(
  numRanks: number,
  book: RankBook,
  coordination: Coordination | undefined,
  nowMs: number,
): readonly EpochRankView[] {
  return Array.from({ length: numRanks }, (_, rank) => {
    const entry = coordination?.state.ranks[rank];
    const lease = book.leaseOf(rank);
    const death = book.deathOf(rank);
    const isKnown = entry !== undefined && entry.incarnation >= 0;
    const heard = Math.max(lease?.incarnation ?? -1, entry?.incarnation ?? -1);
    return {
      rank,
      lease: book.stateOf(rank),
      state: isKnown ? entry.state : 'unknown',
      reason: (isKnown ? entry.reason : '') || (death === undefined ? '' : `dead: ${death.cause}`),
      incarnation: heard >= 0 ? heard : null,
      speed: book.speed?.[rank] ?? 1,
      secondsSinceHeartbeat: lease === undefined ? null : Math.max(0, nowMs - lease.heardMs) / 1000,
    };
  });
}

/** How many ranks stand how. */
export function countRanks(views: readonly EpochRankView[]): RankCounts {
  const ofState = (wanted: EpochRankView['state']) => views.filter(({ state }) => state === wanted).length;
  const ofLease = (wanted: LeaseState) => views.filter(({ lease }) => lease === wanted).length;
  return {
    serving: ofState('serving'),
    unconfirmed: ofState('unconfirmed'),
    fenced: ofState('fenced'),
    unknown: ofState('unknown'),
    suspected: ofLease('suspected'),
    dead: ofLease('dead'),
  };
}

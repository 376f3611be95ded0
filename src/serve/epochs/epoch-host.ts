import type { Topology } from '../../core/topology.ts';
import type { ExpertMapping } from '../../index.ts';
import type { LoadMatrix } from '../../loads/load-matrix.ts';
import type { MigrationEvent } from '../../migration/coordinator-output.ts';
import type { FullDeclaration } from '../declaration.ts';
import type { Held } from '../live-epochs.ts';
import type { MappingRecord } from '../mapping-record.ts';
import type { Damage } from './damage.ts';
import type { SavedRanks } from './rank-book.ts';

/** What a rank has said that it has prepared, of the attempt under way. */
export interface SavedAck {
  readonly rank: number;
  readonly incarnation: number;
  readonly token: number;
  readonly layers: readonly number[];
}

/** What is kept of a group's epochs. */
export interface SavedEpochs {
  /** Of the coordinator; none before a rank or an offer came. */
  readonly records: readonly unknown[];
  /** The mapping of the attempt that was offered last. */
  readonly offered: MappingRecord | undefined;
  readonly ranks: SavedRanks | undefined;
  /** Of the attempt under way, where a group keeps them. */
  readonly acks?: readonly SavedAck[] | undefined;
}

/** What a group appends to its journal for them, all or none. */
export interface EpochsRecord extends Partial<SavedEpochs> {
  readonly kind: 'epochs';
}

export const NOTHING_SAVED: SavedEpochs = { records: [], offered: undefined, ranks: undefined };

/** What is kept once a record is. */
export function afterEpochs(
  before: SavedEpochs,
  { records = [], offered, ranks, acks = [] }: EpochsRecord,
): SavedEpochs {
  const isWhole = typeOfRecord(records[0]) === 'checkpoint';
  const isOver = records.some((record) => ['begun', 'ended'].includes(typeOfRecord(record) as string));
  const allAcks = isOver ? [] : [...(before.acks ?? []), ...acks];
  return {
    ...(allAcks.length > 0 && { acks: allAcks }),
    records: isWhole ? records : [...before.records, ...records],
    offered: offered ?? before.offered,
    ranks: ranks ?? before.ranks,
  };
}

/** The type of a coordinator's record, as it was read. */
export function typeOfRecord(record: unknown): unknown {
  return typeof record === 'object' && record !== null && 'type' in record ? record.type : undefined;
}

/** The group that epochs are of. */
export interface EpochHost {
  readonly name: string;
  readonly declaration: FullDeclaration;
  /** As it was declared. */
  readonly declared: Topology;
  /** The same, if no rank were dead. */
  readonly whole: Topology;
  /** Whether acknowledgements are made durable, too. */
  readonly keepsAcks: boolean;
  readonly isPaused: boolean;
  readonly isDryRun: boolean;
  live(): { readonly epoch: number; readonly held: Held };
  /** A plan that was answered, with the epoch it was made from; that is undefined for any other mapping. */
  answered(digest: string): { readonly held: Held; readonly epoch: number | undefined } | undefined;
  mappingAt(epoch: number): ExpertMapping | undefined;
  /** A mapping as a table of all ranks. @throws EplbError `EPLB_STALE` for one with experts on others */
  lay(mapping: ExpertMapping): ExpertMapping;
  /** Of the window; undefined when it is empty. */
  averageLoads(): LoadMatrix | undefined;
  /** The step after the last one that was recorded. */
  nextStep(): number;
  /** Runs changes one after the other. */
  change<T>(work: () => Promise<T>): Promise<T>;
  /** Durable when it resolves. */
  append(record: EpochsRecord): Promise<void>;
  /** The group has other ranks by now: durable when it resolves, with what is kept of its epochs. */
  resized(epochs: SavedEpochs): Promise<void>;
  /** Another mapping is live; that is durable by now. */
  goLive(epoch: number, next: Held): void;
  /** Ranks are dead or slow from now on. */
  changeRanks(deadRanks: readonly number[], speed: readonly number[] | null): void;
  /** The mapping that repairs a damage. @throws EplbRangeError `EPLB_TOPOLOGY` when there is none */
  repairOf(damage: Damage): ExpertMapping;
  /** What a coordinator tells, once it is durable. */
  coordinated(event: MigrationEvent): void;
  onFault(error: unknown): void;
}

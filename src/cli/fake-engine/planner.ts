import { isOwnError } from '../../core/errors.ts';
import type { MigrationAbortReason } from '../../migration/index.ts';
import type { GroupDeclaration, GroupView } from '../../serve/index.ts';
import { type ServiceClient, sleep } from '../service/client.ts';
import type { EngineEvent, GainFigures } from './events.ts';

/** An event without the step that it happened at. */
export type EventBody = EngineEvent extends infer Event
  ? Event extends EngineEvent
    ? Omit<Event, 'step'>
    : never
  : never;

interface PlanAnswer {
  readonly status: 'planned' | 'kept';
  readonly reason?: string;
  readonly epoch: number;
  readonly digest: string;
  readonly moves: number;
}

interface EpochEvent {
  readonly what: string;
  readonly epoch: number;
  readonly operationId: string | null;
  readonly state: string;
  readonly reason: MigrationAbortReason | null;
  readonly fencedRanks: readonly { readonly rank: number }[];
}

interface RepairEvent {
  readonly status: 'offered' | 'impossible';
  readonly reasons: readonly string[];
  readonly message?: string;
}

const RETRY_MS = 200;

/** The engine's own part at the service: declares the group, asks for plans, offers them, reports deaths. */
export class EnginePlanner {
  readonly #client: ServiceClient;
  readonly #path: string;
  readonly #emit: (event: EventBody) => void;
  readonly #signal: AbortSignal;
  #isPlanning = false;
  #repairReasons: readonly string[] = [];

  constructor(client: ServiceClient, group: string, emit: (event: EventBody) => void, signal: AbortSignal) {
    this.#client = client;
    this.#path = `/v1/groups/${encodeURIComponent(group)}`;
    this.#emit = emit;
    this.#signal = signal;
  }

  /** Declares the group. @throws EplbError as the service says, and where there is none */
  declare(declaration: GroupDeclaration): Promise<GroupView> {
    return this.#client.ask<GroupView>('PUT', this.#path, declaration);
  }

  /** Tells what becomes of epochs, until the signal is aborted. */
  async listen(): Promise<void> {
    await this.#client.listen(`${this.#path}/events`, ({ type, data }) => this.#take(type, data), {
      signal: this.#signal,
    });
  }

  /** Asks for a plan and offers it, unless that is still under way. */
  async plan(id: string): Promise<void> {
    if (this.#isPlanning) return;
    this.#isPlanning = true;
    try {
      const plan = await this.#client.ask<PlanAnswer>('POST', `${this.#path}/plan`, { planId: id });
      const { status, reason = '', epoch, digest, moves } = plan;
      if (status === 'kept') return this.#emit({ type: 'kept', reason });
      const offer = { digest, operationId: id, activation: 'whenPrepared', fromEpoch: epoch };
      await this.#client.ask('POST', `${this.#path}/epochs`, offer);
      this.#emit({ type: 'offered', epoch: epoch + 1, moves, why: 'a plan' });
    } catch (error) {
      // Who else has offered, or died, since: there will be another plan.
      if (isOwnError(error) && error.code !== 'EPLB_UNREACHABLE') {
        this.#emit({ type: 'kept', reason: error.message });
      }
    } finally {
      this.#isPlanning = false;
    }
  }

  /** Reports that a rank is gone, as often as it takes. */
  async reportDead(rank: number, reason: string): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#client.ask('POST', `${this.#path}/ranks`, { dead: [rank], reason });
        return;
      } catch {
        await sleep(RETRY_MS, this.#signal);
      }
    }
  }

  /** What plans promised and gained, as far as the service knows it. */
  async gains(): Promise<readonly GainFigures[]> {
    try {
      const { gains } = await this.#client.ask<GroupView>('GET', this.#path);
      return gains.map(({ predictedGain, realisedGain, unit }) => ({
        predicted: predictedGain ?? null,
        realised: realisedGain,
        unit,
      }));
    } catch {
      return [];
    }
  }

  #take(type: string, data: unknown): void {
    if (type === 'repair') {
      const { status, reasons, message = '' } = data as RepairEvent;
      this.#repairReasons = reasons;
      if (status === 'impossible') this.#emit({ type: 'impossible', message });
    }
    if (type !== 'epoch') return;
    const { what, epoch, operationId, state, reason, fencedRanks } = data as EpochEvent;
    if (what === 'begun' && operationId?.startsWith('repair-')) {
      this.#emit({ type: 'offered', epoch, moves: null, why: `a repair: ${this.#repairReasons.join(', ')}` });
    }
    if (what !== 'ended') return;
    if (state === 'aborted') this.#emit({ type: 'aborted', epoch, reason: reasonText(reason) });
    if (fencedRanks.length > 0) {
      const ranks = fencedRanks.map(({ rank }) => rank);
      this.#emit({ type: 'without', epoch, ranks });
    }
  }
}

function reasonText(reason: MigrationAbortReason | null): string {
  if (reason === null) return 'no reason is known';
  if (reason.cause === 'refused') return `rank ${reason.rank} refused: ${reason.text}`;
  if (reason.cause === 'timedOut') return `ranks ${reason.ranks.join(', ')} took too long, ${reason.phase}`;
  if (reason.cause === 'rankLost') return `rank ${reason.rank} was lost: ${reason.text}`;
  return reason.text;
}

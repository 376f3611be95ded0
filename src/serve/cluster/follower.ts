import { configKeyOf, planBasisOf, planKeyOf } from '../config-key.ts';
import { readDeclaration } from '../declaration.ts';
import { PlannedRanks } from '../group-ranks.ts';
import type { Held } from '../live-epochs.ts';
import { PlanCache } from '../plan-cache.ts';
import { notFound } from '../refusal.ts';
import { jsonReply, mappingReply, type Reply } from '../reply.ts';
import type { KnownGroup, ReadModel } from './read-model.ts';

/** What is read of the record. */
interface RecordRequest {
  readonly operationId: string;
  readonly name: string;
  readonly epoch: number;
  readonly wantsBinary: boolean;
}

/** What a service that does not lead answers by itself: from the record, and from plans that it has seen. */
export class Follower {
  readonly #model: ReadModel;
  readonly #mostBytes: number;
  /** Of each group its own. */
  readonly #plans = new Map<string, PlanCache<Reply>>();
  readonly #bases = new WeakMap<KnownGroup, string>();

  /** @param mostBytes of the answers of a group */
  constructor(model: ReadModel, mostBytes: number) {
    this.#model = model;
    this.#mostBytes = mostBytes;
  }

  /** Answers what is read of the record; undefined for what a leader may know. @throws EplbError */
  read({ operationId, name, epoch, wantsBinary }: RecordRequest): Reply | undefined {
    switch (operationId) {
      case 'listGroups':
        return this.#list();
      case 'getGroup':
        return this.#view(name);
      case 'getMapping':
        return this.#mapping(name, wantsBinary);
      case 'getEpochMapping':
        return this.#epochMapping(name, epoch, wantsBinary);
      default:
        return undefined;
    }
  }

  /** All groups. */
  #list(): Reply {
    const groups = [...this.#model.groups]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([group, { saved, live }]) => {
        const { epoch, paused, dryRun } = saved;
        return { group, epoch, digest: live().digest, paused, dryRun };
      });
    return jsonReply({ groups });
  }

  /** The live mapping. @throws EplbError `EPLB_NOT_FOUND` */
  #mapping(name: string, wantsBinary: boolean): Reply {
    const { saved, live } = this.#group(name);
    return mappingReply(saved.epoch, live(), wantsBinary);
  }

  /** The mapping of an epoch; undefined for one that the leader may know. @throws EplbError */
  #epochMapping(name: string, epoch: number, wantsBinary: boolean): Reply | undefined {
    const { saved, live, earlier } = this.#group(name);
    const own: Held | undefined =
      epoch === saved.epoch ? live() : epoch === earlier?.epoch ? earlier.held() : undefined;
    return own && mappingReply(epoch, own, wantsBinary);
  }

  /** What is known of a group when nobody leads: nothing that only a leader has. @throws EplbError */
  #view(name: string): Reply {
    const { saved, live } = this.#group(name);
    const { declaration, epoch, paused, dryRun, counters } = saved;
    const none = { serving: 0, unconfirmed: 0, fenced: 0, suspected: 0 };
    const dead = saved.epochs?.ranks?.dead.length ?? declaration.deadRanks?.length ?? 0;
    const { numSteps = 0, numPlanned = 0, numKept = 0, numMoves = 0, lastStep = null } = counters ?? {};
    return jsonReply({
      ...declaration,
      ...{ group: name, epoch, digest: live().digest, paused, dryRun },
      conditions: [
        { type: 'Ready', status: false, reason: 'no service leads: this is what etcd holds' },
        { type: 'Durable', status: true, reason: 'each change is in etcd' },
      ],
      underWay: null,
      ranks: { ...none, unknown: declaration.numRanks - dead, dead },
      window: { steps: 0, source: 'empty', lastStep, incompleteSteps: 0 },
      counters: { numSteps, numPlanned, numKept, numMoves },
      ...{ secondsSincePlan: null, secondsSinceLoads: null, gains: [] },
    });
  }

  /** A plan that was answered before. */
  plan(name: string, kind: string, body: readonly Uint8Array[]): Reply | undefined {
    const group = this.#model.groups.get(name);
    if (group === undefined) return undefined;
    return this.#plans.get(name)?.get(planKeyOf(name, this.#basisOf(group), kind, body));
  }

  /** Remembers a plan that the leader answered. @param basis that the leader says it follows from */
  remember(name: string, kind: string, body: readonly Uint8Array[], basis: string, reply: Reply): void {
    const cache = this.#plans.get(name) ?? new PlanCache<Reply>(this.#mostBytes);
    this.#plans.set(name, cache);
    cache.set(planKeyOf(name, basis, kind, body), reply, reply.content.length);
    for (const known of this.#plans.keys()) if (!this.#model.groups.has(known)) this.#plans.delete(known);
  }

  #group(name: string): KnownGroup {
    const group = this.#model.groups.get(name);
    if (group !== undefined) return group;
    throw notFound(`there is no group '${name.slice(0, 64)}'; declare it with PUT /v1/groups/NAME`);
  }

  #basisOf(group: KnownGroup): string {
    const known = this.#bases.get(group);
    if (known !== undefined) return known;
    const { saved, live } = group;
    const parts = readDeclaration(saved.declaration);
    const ranks = new PlannedRanks(parts, saved.epochs?.ranks);
    const basis = planBasisOf({
      configKey: configKeyOf(parts.declaration, ranks),
      ...{ epoch: saved.epoch, digest: live().digest, isDryRun: saved.dryRun },
    });
    this.#bases.set(group, basis);
    return basis;
  }
}

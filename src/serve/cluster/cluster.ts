import { setMaxListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { EplbError, isOwnError } from '../../core/errors.ts';
import type { MetricFamily } from '../../watch/exposition.ts';
import type { GroupDeclaration } from '../declaration.ts';
import type { ServiceRecord } from '../group-store.ts';
import type { Reply } from '../reply.ts';
import type { PlanningService } from '../service.ts';
import type { FaultJournal, VllmFaults, VllmView } from '../vllm-faults.ts';
import { clusterFamilies } from './cluster-metrics.ts';
import { EtcdClient, EtcdError } from './etcd-client.ts';
import { EtcdKeeper } from './etcd-keeper.ts';
import type { EtcdSettings } from './etcd-settings.ts';
import { EtcdFaultJournal } from './fault-journal.ts';
import { Follower } from './follower.ts';
import { BASIS_HEADER, FORWARDED_HEADER, type Forwarded, Forwarder } from './forward.ts';
import { Leadership } from './leadership.ts';
import { ReadModel } from './read-model.ts';
import { RecordKeys } from './record-keys.ts';

/** What is of groups; all else each service answers by itself. */
const OF_GROUPS = '/v1/';
/** What is read of the record: it is asked whether that is as it was. */
const READS: readonly string[] = ['listGroups', 'getGroup', 'getMapping', 'getEpochMapping'];

/** Between looks, while etcd does not answer. */
const AGAIN_MS = 50;

/** A request, as the services that share etcd see it. */
export interface ClusterRequest extends Forwarded {
  readonly operationId: string;
  readonly name: string;
  readonly epoch: number;
  readonly wantsBinary: boolean;
  /** What beside the body changes a plan. */
  readonly planKind: string;
}

/** How this service stands to those that share etcd with it. */
export interface ClusterView {
  readonly role: 'leader' | 'follower';
  /** Where the leader is reached; null when nobody leads, as far as is known. */
  readonly leader: string | null;
  /** The leader's: later ones have greater ones. */
  readonly term: number | null;
  /** Since etcd answered last. */
  readonly secondsSinceEtcd: number;
}

/** What of that has changed: a log's line. */
export interface ClusterEvent {
  readonly kind: 'leads' | 'took-over' | 'leads-no-more' | 'etcd-lost' | 'etcd-back';
  readonly message: string;
}

/** What a cluster is made with, beside its settings. */
interface ClusterParts {
  readonly service: PlanningService;
  /** Groups that whoever leads declares. */
  readonly groups: Readonly<Record<string, GroupDeclaration>>;
  /** Watches vLLM's engines while this service leads; undefined where there are none. */
  readonly watchVllm: ((journal: FaultJournal) => Promise<VllmFaults>) | undefined;
  /** Bytes of the plans that are remembered for each group. */
  readonly maxCacheBytes: number;
  onFault(error: unknown): void;
  onEvent(event: ClusterEvent): void;
}

/**
 * Services that share their groups by etcd, which is the only record. One of them leads: it has the groups,
 * as a service of its own has. The others answer what they can from the record and send it the rest.
 */
export class Cluster {
  readonly #settings: EtcdSettings;
  readonly #parts: ClusterParts;
  readonly #client: EtcdClient;
  readonly #keys: RecordKeys;
  readonly #model: ReadModel;
  readonly #leadership: Leadership;
  readonly #follower: Follower;
  readonly #forwarder: Forwarder;
  readonly #closing = new AbortController();
  #watching = new AbortController();
  #url: string | undefined;
  #keepers = new Map<string, EtcdKeeper>();
  #faults: VllmFaults | undefined;
  /** Ends when the groups are there that this service leads. */
  #ready: Promise<void> = Promise.resolve();
  /** Ends requests to a leader when it is not it any more. */
  #leaderGone = new AbortController();
  #leaderTerm: number | undefined;
  #polling: ReturnType<typeof setTimeout> | undefined;
  #isLost = false;

  private constructor(settings: EtcdSettings, parts: ClusterParts, client: EtcdClient) {
    this.#settings = settings;
    this.#parts = parts;
    this.#client = client;
    this.#keys = new RecordKeys(settings.prefix);
    this.#model = new ReadModel(client, this.#keys);
    this.#leadership = new Leadership(client, this.#keys.leader, settings.leaseSeconds, {
      began: (term) => this.#began(term),
      ended: (reason) => this.#ended(reason),
    });
    this.#follower = new Follower(this.#model, parts.maxCacheBytes);
    this.#forwarder = new Forwarder(this.#leadership.id);
  }

  /** @throws EplbError `EPLB_FILE` for certificates that cannot be read */
  static async open(settings: EtcdSettings, parts: ClusterParts): Promise<Cluster> {
    return new Cluster(settings, parts, await EtcdClient.open(settings));
  }

  /** Takes part from now on: others reach this service at the URL. Never fails: etcd may come later. */
  async join(url: string): Promise<void> {
    this.#url = url;
    this.#poll(await this.#look());
    void this.#watch();
  }

  /** Answers a request here, or lets the leader answer it. @throws EplbError `EPLB_NO_LEADER`, `EPLB_ETCD` */
  answer(request: ClusterRequest, work: () => Promise<Reply> | Reply): Promise<Reply> | Reply {
    if (!request.path.startsWith(OF_GROUPS)) return work();
    const { term } = this.#leadership;
    return term === undefined ? this.#follow(request) : this.#lead(term, request, work);
  }

  view(): ClusterView {
    const { term } = this.#leadership;
    const secondsSinceEtcd = this.#client.silentMs / 1000;
    if (term !== undefined) return { role: 'leader', leader: this.#url!, term, secondsSinceEtcd };
    const leader = this.#isEtcdLost ? undefined : this.#otherLeader;
    return {
      ...{ role: 'follower', leader: leader?.url ?? null, term: leader?.term ?? null },
      secondsSinceEtcd,
    };
  }

  /** Where the removal of vLLM's dead engines stands, while this service leads. */
  vllm(): VllmView | undefined {
    return this.#faults?.view();
  }

  /** In the record, as far as is known. */
  get numGroups(): number {
    return this.#model.groups.size;
  }

  /** What is not as it should be. */
  faults(): readonly { readonly type: string; readonly reason: string }[] {
    const { leader, secondsSinceEtcd } = this.view();
    const faults: { type: string; reason: string }[] = [];
    if (this.#isEtcdLost) {
      const since = `no request to etcd has succeeded for ${secondsSinceEtcd.toFixed(1)} s`;
      faults.push({ type: 'EtcdAnswers', reason: `${since}: ${this.#client.lastFailure}` });
    }
    if (leader === null) {
      faults.push({
        type: 'HasLeader',
        reason: 'no service leads: nothing can change, and reads may be old',
      });
    }
    return faults;
  }

  /** Metrics of the service itself. */
  families(): readonly MetricFamily[] {
    const { role, term } = this.view();
    const standing = { leads: role === 'leader', term, isEtcdLost: this.#isEtcdLost };
    return clusterFamilies({ ...standing, numForwarded: this.#forwarder.count });
  }

  /** Gives the lead up at once. What its groups have to say has been written by then. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#watching.abort();
    clearTimeout(this.#polling);
    await this.#faults?.close();
    await this.#leadership.resign('it is being stopped', Number.POSITIVE_INFINITY);
    this.#leaderGone.abort();
    this.#forwarder.close();
    this.#client.close();
  }

  get #isEtcdLost(): boolean {
    return this.#client.silentMs > 1000 * this.#settings.leaseSeconds;
  }

  get #otherLeader(): ReadModel['leader'] {
    const { leader } = this.#model;
    // Its own key is there yet, where it could not be removed.
    return leader?.id === this.#leadership.id ? undefined : leader;
  }

  // What a leader does.

  #began(term: number): void {
    this.#parts.onEvent({ kind: 'leads', message: `this service leads, in term ${term}` });
    this.#ready = this.#takeOver(term);
    this.#ready.catch((error: unknown) => {
      this.#parts.onFault(error);
      // It may lead in another term by now.
      if (this.#leadership.term === term) void this.#leadership.resign('its groups could not be read');
    });
  }

  #ended(reason: string): void {
    this.#parts.onEvent({ kind: 'leads-no-more', message: `this service no longer leads: ${reason}` });
    this.#keepers = new Map();
    void this.#faults?.close();
    this.#faults = undefined;
    this.#parts.service.letGo().catch((error: unknown) => this.#parts.onFault(error));
  }

  async #takeOver(term: number): Promise<void> {
    const { service, groups, watchVllm, onFault } = this.#parts;
    // Nothing of a former term is written any more: it is all there.
    await this.#model.fresh();
    const keepers = new Map<string, EtcdKeeper>();
    const host = {
      ...{ client: this.#client, keys: this.#keys, model: this.#model, leadership: this.#leadership, term },
      failed: (reason: string) => {
        if (this.#leadership.term === term) void this.#leadership.resign(reason);
      },
    };
    const record: ServiceRecord = {
      names: () => Promise.resolve([...this.#model.groups.keys()].sort()),
      keeperOf: (name) => {
        const keeper = new EtcdKeeper(host, name);
        keepers.set(name, keeper);
        return keeper;
      },
    };
    if (this.#leadership.term !== term) return;
    this.#keepers = keepers;
    await service.goOn(record);
    if (keepers.size > 0) {
      const message = `groups that go on from etcd: ${keepers.size}. It has no loads: their windows are empty`;
      this.#parts.onEvent({ kind: 'took-over', message });
    }
    for (const [name, group] of Object.entries(groups)) {
      await service.declare(name, group).catch((error: unknown) => {
        if (this.#leadership.term !== term) throw error;
        // What etcd has of it stands. One group is no reason for nobody to lead.
        onFault(error);
      });
    }
    const faults = await watchVllm?.(new EtcdFaultJournal(host)).catch((error: unknown) => {
      if (!isOwnError(error) || error.code !== 'EPLB_FORMAT') throw error;
      onFault(error);
    });
    if (this.#leadership.term === term) this.#faults = faults ?? undefined;
    else await faults?.close();
  }

  async #lead(term: number, request: ClusterRequest, work: () => Promise<Reply> | Reply): Promise<Reply> {
    const { operationId, name } = request;
    const check = () => {
      if (this.#leadership.term !== term)
        throw noLeader('the lead was lost meanwhile: it may have been done');
    };
    try {
      await this.#ready;
      if (READS.includes(operationId)) {
        await this.#model.fresh();
        if (this.#model.leader?.term !== term) throw noLeader('another service leads');
      }
      // Others may have seen in etcd what is being written, and it is to be seen here, too.
      for (const [own, keeper] of this.#keepers) if (name === '' || name === own) await keeper.settled();
      await setImmediate();
      check();
      const reply = await work();
      check();
      const isAskedFor = request.header(FORWARDED_HEADER) !== undefined && reply.basis !== undefined;
      const basis = isAskedFor ? { [BASIS_HEADER]: reply.basis! } : {};
      return { ...reply, headers: { ...reply.headers, 'eplb-term': String(term), ...basis } };
    } catch (error) {
      // Whatever it is, it was found in groups that may not be as they were.
      check();
      throw error;
    }
  }

  // What the others do.

  async #follow(request: ClusterRequest): Promise<Reply> {
    if (request.header(FORWARDED_HEADER) !== undefined) {
      throw noLeader('another service takes this one for the leader, which it is not; ask again');
    }
    const { operationId } = request;
    if (READS.includes(operationId)) {
      const isOfLeader = operationId === 'getGroup' && !this.#isEtcdLost && this.#otherLeader !== undefined;
      const read = isOfLeader ? undefined : await this.#read(request);
      if (read !== undefined) return read;
    }
    if (operationId === 'plan') return this.#plan(request);
    return this.#forward(request);
  }

  /** What the record has; undefined where the leader may know more. @throws EplbError */
  async #read(request: ClusterRequest): Promise<Reply | undefined> {
    const isStale = await this.#confirmed().then(
      () => false,
      (error: unknown) => {
        if (this.#model.ageMs === undefined) throw error;
        return true;
      },
    );
    const reply = this.#follower.read(request);
    if (reply === undefined || !isStale) return reply;
    const stale = { 'eplb-stale-seconds': (this.#model.ageMs! / 1000).toFixed(3) };
    return { ...reply, headers: { ...reply.headers, ...stale } };
  }

  /** One that was answered before, or as the leader answers it. @throws EplbError */
  async #plan(request: ClusterRequest): Promise<Reply> {
    const { name, planKind, body } = request;
    await this.#confirmed();
    const known = this.#follower.plan(name, planKind, body);
    if (known !== undefined) return known;
    const reply = await this.#forward(request);
    const { [BASIS_HEADER]: basis, ...headers } = reply.headers ?? {};
    if (basis !== undefined && reply.status === 200) {
      const { 'eplb-term': _, ...lasting } = headers;
      this.#follower.remember(name, planKind, body, basis, { ...reply, headers: lasting });
    }
    return { ...reply, headers };
  }

  /** @throws EtcdError at once, while etcd is known not to answer */
  #confirmed(): Promise<void> {
    if (!this.#isEtcdLost) return this.#model.fresh();
    return Promise.reject(this.#lost());
  }

  async #forward(request: ClusterRequest): Promise<Reply> {
    if (this.#isEtcdLost) throw this.#lost();
    const leader = this.#otherLeader;
    if (leader === undefined) throw noLeader('no service leads; ask again');
    this.#follows(leader.term);
    return this.#forwarder.send(leader.url, request, this.#leaderGone.signal);
  }

  #lost(): EplbError {
    return new EplbError('EPLB_ETCD', this.#client.lastFailure);
  }

  /** Requests to another leader are given up. */
  #follows(term: number | undefined): void {
    if (term === this.#leaderTerm) return;
    this.#leaderTerm = term;
    this.#leaderGone.abort();
    this.#leaderGone = new AbortController();
    // As many as there are requests.
    setMaxListeners(0, this.#leaderGone.signal);
  }

  // How it stays up to date.

  /** Looks at the record, and takes the lead if nobody has it. @returns when to look again */
  async #look(): Promise<number> {
    let pauseMs = (1000 * this.#settings.leaseSeconds) / 3;
    try {
      await this.#model.fresh();
      const { leader } = this.#model;
      this.#follows(leader?.term);
      if (this.#closing.signal.aborted) return pauseMs;
      pauseMs = Math.min(pauseMs, await this.#leadership.look(leader, this.#url!));
    } catch (error) {
      // What etcd refuses it refuses again; passwords are slow to check, too.
      if (error instanceof EtcdError && error.isUnknown) pauseMs = AGAIN_MS;
      // The watch may have been cut off just as silently.
      this.#watching.abort();
      if (!isOwnError(error) || error.code !== 'EPLB_ETCD') this.#parts.onFault(error);
    }
    const isLost = this.#isEtcdLost;
    if (isLost === this.#isLost) return pauseMs;
    this.#isLost = isLost;
    const message = isLost ? this.#client.lastFailure : 'etcd answers again';
    this.#parts.onEvent({ kind: isLost ? 'etcd-lost' : 'etcd-back', message });
    return pauseMs;
  }

  #poll(pauseMs: number): void {
    if (this.#closing.signal.aborted) return;
    this.#polling = setTimeout(() => void this.#look().then((next) => this.#poll(next)), pauseMs);
  }

  /** What others write is seen at once; should the watch miss it, by the next poll. */
  async #watch(): Promise<void> {
    const { indexPrefix, indexEnd } = this.#keys;
    while (!this.#closing.signal.aborted) {
      this.#watching = new AbortController();
      const { signal } = this.#watching;
      await this.#client.watch(indexPrefix, indexEnd, () => void this.#look(), signal).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

function noLeader(message: string): EplbError {
  return new EplbError('EPLB_NO_LEADER', message);
}

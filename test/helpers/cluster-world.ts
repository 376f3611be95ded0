/** Services in processes that share etcd, clients that use them, and whatever goes wrong meanwhile. */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from './arbitraries.ts';
import type { SeenEpoch } from './epoch-history.ts';
import { Etcd, Link } from './etcd.ts';
import { EtcdControl } from './etcd-control.ts';
import { endProcess, type ServiceProcess, startProcess } from './service.ts';

export const LEASE_SECONDS = Number(process.env.EPLB_CLUSTER_LEASE ?? 1);
const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
/** A client gives a request up after that long. */
const PATIENCE_MS = 1000;
/** So many looks, of 20 ms and more each, something may take to come about. */
const MOST_LOOKS = 3000;

interface Service {
  readonly links: readonly Link[];
  process: ServiceProcess;
}

/** What went wrong, and what it took to go on. */
export interface Trouble {
  readonly kind: string;
  /** From there to a leader of a later term; undefined where none was needed. */
  readonly leaderlessMs?: number;
  /** From there to the next commit that was acknowledged. */
  readonly stalledMs: number;
  /** The longest time meanwhile in which etcd took nothing of a plain client that writes all the time. */
  readonly etcdSilentMs: number;
  /** Whether another service leads afterwards. */
  readonly hasNewLeader: boolean;
}

export interface Refusals {
  /** By code. */
  readonly refused: Map<string, number>;
  unanswered: number;
}

/** Counts what clients were told instead of an answer. */
function noRefusals(): Refusals {
  return { refused: new Map(), unanswered: 0 };
}

export class ClusterWorld {
  readonly history: SeenEpoch[] = [];
  readonly refusals = noRefusals();
  readonly #random = seededRandom(7);
  readonly #etcd: Etcd;
  readonly #control: EtcdControl;
  readonly #services: Service[];
  #isOver = false;
  #numAttempts = 0;
  #numCommits = 0;
  /** Which service each client asks. */
  readonly #asked = new Map<string, number>();
  #clients: Promise<void>[] = [];

  private constructor(etcd: Etcd, services: Service[]) {
    this.#etcd = etcd;
    this.#control = new EtcdControl(etcd);
    this.#services = services;
  }

  static async start(folder: string, numMembers: number, numServices: number): Promise<ClusterWorld> {
    const etcd = await Etcd.start(folder, numMembers);
    const services = await Promise.all(
      Array.from({ length: numServices }, async () => {
        const links = await Promise.all(etcd.urls.map((url) => Link.to(url)));
        return { links, process: await startService(links) };
      }),
    );
    return new ClusterWorld(etcd, services);
  }

  get numCommits(): number {
    return this.#numCommits;
  }

  /** Clients begin: one that commits in each group, and some that read. */
  async begin(groups: readonly string[]): Promise<void> {
    for (const group of groups) {
      await this.#until(`${group} is declared`, async () => {
        const answer = await this.#ask(group, 'PUT', `/v1/groups/${group}`, SIZES);
        return answer?.status === 201 || answer?.status === 200;
      });
      this.#clients.push(this.#commits(group));
      for (const reader of ['r1', 'r2']) this.#clients.push(this.#reads(`${reader}-${group}`, group));
    }
    await this.untilCommits(groups.length);
  }

  /** Waits for more commits: that the services go on. */
  async untilCommits(more: number): Promise<void> {
    const wanted = this.#numCommits + more;
    await this.#until(`${more} more commits`, () => Promise.resolve(this.#numCommits >= wanted));
  }

  /** Ends clients, reads each group once more at each service, and ends everything. */
  async end(groups: readonly string[]): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    for (const { process } of this.#services) {
      for (const group of groups) {
        await this.#until(`${group} is read`, () => this.#read('last', group, process.address));
      }
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.allSettled(this.#clients);
    await Promise.all(this.#services.map(({ process }) => endProcess(process, 'SIGKILL')));
    await this.#control.stop();
    await this.#etcd.stop();
    await Promise.all(this.#services.flatMap(({ links }) => links.map((link) => link.close())));
  }

  /** Makes trouble of a kind, and waits until all goes on. */
  async trouble(kind: keyof typeof TROUBLES): Promise<Trouble> {
    const { term: before } = await this.leader();
    const beganMs = performance.now();
    const leaderlessMs = await TROUBLES[kind](this, beganMs);
    await this.untilCommits(1);
    const stalledMs = performance.now() - beganMs;
    const etcdSilentMs = this.#control.longestGapMs(beganMs);
    const hasNewLeader = (await this.leader()).term !== before;
    return {
      ...{ kind, stalledMs, etcdSilentMs, hasNewLeader },
      ...(leaderlessMs !== undefined && { leaderlessMs }),
    };
  }

  // What troubles are made of.

  /** Who leads, as etcd has it. */
  async leader(): Promise<{ readonly service: Service; readonly id: string; readonly term: number }> {
    for (let i = 0; i < MOST_LOOKS; i++) {
      const key = await this.#leaderKey();
      const service = this.#services.find(({ process }) => process.address === key?.url);
      if (key !== undefined && service !== undefined) return { ...key, service };
      await sleep(20);
    }
    return assert.fail('no service leads');
  }

  /** Waits for another leader. @returns how long there was none, from a moment on */
  async untilAnother(id: string, sinceMs: number): Promise<number> {
    await this.#until('another service leads', async () => {
      const key = await this.#leaderKey();
      return key !== undefined && key.id !== id;
    });
    return performance.now() - sinceMs;
  }

  async kill(service: Service): Promise<void> {
    await endProcess(service.process, 'SIGKILL');
  }

  async restart(service: Service): Promise<void> {
    service.process = await startService(service.links);
  }

  otherThan(service: Service): Service {
    const others = this.#services.filter((own) => own !== service);
    return others[Math.floor(this.#random() * others.length)]!;
  }

  /** A member of etcd dies, and comes back when the others have gone on. */
  async killMember(index = Math.floor(this.#random() * this.#etcd.urls.length)): Promise<void> {
    await this.#etcd.killMember(index);
    if (this.#etcd.urls.length > 1) await this.untilCommits(1);
    else await sleep(300 * LEASE_SECONDS);
    this.#etcd.startMember(index);
    await this.#etcd.untilReady();
  }

  /** The member that leads dies, so that the others have to elect. */
  async killLeadingMember(): Promise<void> {
    await this.killMember(await this.#etcd.leader());
  }

  /** Whether anything is wrong with health at any service. */
  async untilFlagged(type: string): Promise<void> {
    await this.#until(`${type} is flagged`, async () => {
      const { address } = this.#services[0]!.process;
      const answer = await this.#ask('health', 'GET', '/healthz', undefined, address);
      return answer?.json.reasons.some((reason: { type: string }) => reason.type === type);
    });
  }

  async #leaderKey(): Promise<
    { readonly id: string; readonly url: string; readonly term: number } | undefined
  > {
    const key = await this.#etcd.newest('/eplb/.leader');
    return key && { ...JSON.parse(key.text), term: key.createRevision };
  }

  async #until(what: string, holds: () => Promise<boolean | undefined>): Promise<void> {
    for (let i = 0; i < MOST_LOOKS; i++) {
      if (await holds()) return;
      await sleep(20);
    }
    const said = this.#services.map(({ process }) => process.errors().slice(-600)).join('\n--\n');
    assert.fail(`not within ${MOST_LOOKS} looks: ${what}\n${said}`);
  }

  // Clients.

  /** @returns undefined when nobody answers */
  async #ask(client: string, method: string, path: string, body?: unknown, at?: string) {
    const index = this.#asked.get(client) ?? this.#random() * this.#services.length;
    const address = at ?? this.#services[Math.floor(index)]!.process.address;
    // Who gets no answer asks another service; anybody does so now and then.
    if (this.#random() < 0.1) this.#asked.delete(client);
    else this.#asked.set(client, index);
    try {
      const response = await fetch(address + path, {
        method,
        signal: AbortSignal.timeout(PATIENCE_MS),
        ...(body !== undefined && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        }),
      });
      const json = await response.json();
      const { refused } = this.refusals;
      if (response.status === 503) this.#asked.delete(client);
      if (response.status >= 400) refused.set(json.code, (refused.get(json.code) ?? 0) + 1);
      return { status: response.status, json, headers: response.headers };
    } catch {
      this.refusals.unanswered++;
      this.#asked.delete(client);
      return undefined;
    }
  }

  async #reads(client: string, group: string): Promise<void> {
    while (!this.#isOver) {
      await this.#read(client, group);
      await sleep(5 + 20 * this.#random());
    }
  }

  /** @returns whether it was read as it is */
  async #read(client: string, group: string, at?: string): Promise<boolean> {
    const startMs = performance.now();
    // By itself, or in the list of all.
    const path = this.#random() < 0.3 ? '/v1/groups' : `/v1/groups/${group}/mapping`;
    const answer = await this.#ask(client, 'GET', path, undefined, at);
    if (answer?.status !== 200) return false;
    const { groups = [answer.json] } = answer.json;
    const { epoch, digest } = groups.find((own: { group?: string }) => (own.group ?? group) === group);
    const isStale = answer.headers.get('eplb-stale-seconds') !== null;
    const endMs = performance.now();
    this.history.push({ client, group, kind: 'read', epoch, digest, startMs, endMs, isStale });
    return !isStale;
  }

  async #commits(group: string): Promise<void> {
    while (!this.#isOver) {
      await this.#attempt(group);
      await sleep(10);
    }
  }

  /** Plans, offers, prepares and activates; whatever is in the way of that is ended first. */
  async #attempt(group: string): Promise<void> {
    const path = `/v1/groups/${group}`;
    const number = ++this.#numAttempts;
    const loads = [0, 1].map(() => [0, 1, 2, 3].map(() => Math.floor(1 + 100 * this.#random())));
    const plan = await this.#ask(group, 'POST', `${path}/plan`, { loads });
    if (plan?.status !== 200 || plan.json.status !== 'planned') return;
    const operationId = `attempt-${number}`;
    const offered = await this.#ask(group, 'POST', `${path}/epochs`, {
      digest: plan.json.digest,
      operationId,
    });
    if (offered?.status === 409) await this.#clear(group);
    if (offered === undefined || offered.status >= 300) return;
    const { epoch } = offered.json;
    for (const rank of [0, 1]) await this.#ask(group, 'POST', `${path}/epochs/${epoch}/ack`, { rank });
    // Whether it is done is not always said: it is asked again, a few times.
    for (let i = 0; i < 4; i++) {
      const startMs = performance.now();
      const answer = await this.#ask(group, 'POST', `${path}/epochs/${epoch}/activate`, {});
      if (answer === undefined || answer.status === 503) continue;
      if (answer.status !== 200) return this.#clear(group);
      const { state, operationId: attempt, digest } = answer.json;
      if (state !== 'active' && state !== 'activating') return;
      const term = Number(answer.headers.get('eplb-term'));
      const endMs = performance.now();
      const seen = { group, epoch, digest, startMs, endMs, attempt, term };
      this.history.push({ client: 'committer', kind: 'commit', ...seen });
      this.#numCommits++;
      return;
    }
  }

  /** Ends what is under way. */
  async #clear(group: string): Promise<void> {
    const path = `/v1/groups/${group}/epochs`;
    const list = await this.#ask(group, 'GET', path);
    const underWay = list?.status === 200 ? list.json.underWay : null;
    if (underWay === null || underWay === undefined) return;
    const startMs = performance.now();
    const answer = await this.#ask(group, 'POST', `${path}/${underWay.epoch}/abort`, {
      reason: 'in the way',
    });
    if (answer?.status !== 200 || answer.json.state !== 'aborted') return;
    const { epoch, digest, operationId: attempt } = answer.json;
    const endMs = performance.now();
    this.history.push({ client: 'committer', kind: 'abort', group, epoch, digest, startMs, endMs, attempt });
  }
}

function startService(links: readonly Link[]): Promise<ServiceProcess> {
  const urls = links.map(({ url }) => url).join(',');
  return startProcess([
    ...['--listen', '127.0.0.1:0', '--etcd', urls, '--etcd-lease', String(LEASE_SECONDS)],
  ]);
}

/** What may go wrong. Each ends with everything as before, and gives how long nobody led. */
const TROUBLES = {
  async leaderKilled(world: ClusterWorld, beganMs: number) {
    const { service, id } = await world.leader();
    await world.kill(service);
    const ms = await world.untilAnother(id, beganMs);
    await world.untilCommits(1);
    await world.restart(service);
    return ms;
  },
  async memberKilled(world: ClusterWorld) {
    await world.killMember();
    return undefined;
  },
  /** It comes back, and takes itself for the leader until it looks at the clock. */
  async leaderPaused(world: ClusterWorld, beganMs: number) {
    const { service, id } = await world.leader();
    service.process.child.kill('SIGSTOP');
    const ms = await world.untilAnother(id, beganMs);
    await world.untilCommits(1);
    service.process.child.kill('SIGCONT');
    return ms;
  },
  async leaderUnheard(world: ClusterWorld, beganMs: number) {
    const { service, id } = await world.leader();
    for (const link of service.links) link.drop();
    const ms = await world.untilAnother(id, beganMs);
    await world.untilCommits(1);
    for (const link of service.links) link.heal();
    return ms;
  },
  async leaderCutOff(world: ClusterWorld, beganMs: number) {
    const { service, id } = await world.leader();
    for (const link of service.links) link.cut();
    const ms = await world.untilAnother(id, beganMs);
    await world.untilCommits(1);
    for (const link of service.links) link.heal();
    return ms;
  },
  async leaderSlow(world: ClusterWorld) {
    const { service } = await world.leader();
    for (const link of service.links) link.delay(60);
    await world.untilCommits(2);
    for (const link of service.links) link.heal();
    return undefined;
  },
  async followerKilled(world: ClusterWorld) {
    const { service } = await world.leader();
    const other = world.otherThan(service);
    await world.kill(other);
    await world.untilCommits(1);
    await world.restart(other);
    return undefined;
  },
  async followerCutOff(world: ClusterWorld) {
    const { service } = await world.leader();
    const other = world.otherThan(service);
    for (const link of other.links) link.cut();
    await world.untilCommits(2);
    for (const link of other.links) link.heal();
    return undefined;
  },
  /** etcd has to elect, too: no service can say anything meanwhile. */
  async leaderAndMemberKilled(world: ClusterWorld, beganMs: number) {
    const { service, id } = await world.leader();
    const isBack = world.killLeadingMember();
    await world.kill(service);
    const ms = await world.untilAnother(id, beganMs);
    await isBack;
    await world.restart(service);
    return ms;
  },
};

export const TROUBLE_KINDS = Object.keys(TROUBLES) as (keyof typeof TROUBLES)[];

/** Ranks that are clients of a service, which is killed at every step of a migration. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { RankMachine } from 'expert-load-balancer/migration';
import { seededRandom } from './arbitraries.ts';
import { type Answer, ask, endProcess, type ServiceProcess } from './service.ts';

const SIZES = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
/** Requests of a migration, from the offer to the last confirmation: kills are spread over them. */
const NUM_REQUESTS = 16;
const MOST_ROUNDS = 200;
const MOST_LOOKS = 500;

interface Told {
  readonly epoch: number;
  readonly digest: string;
  readonly state: string;
}

class Engine {
  readonly #start: () => Promise<ServiceProcess>;
  readonly #random = seededRandom(11);
  #service: ServiceProcess;
  readonly machines: RankMachine[] = [];
  /** Digests by the epochs that anybody was told are live, and states that attempts were told to have. */
  readonly live = new Map<number, string>();
  readonly #ended = new Map<string, string>();
  readonly activated: number[][] = [[], []];
  #step = 0;
  /** After so many more requests it is killed. */
  killIn = Number.POSITIVE_INFINITY;
  numKills = 0;

  constructor(service: ServiceProcess, start: () => Promise<ServiceProcess>) {
    this.#service = service;
    this.#start = start;
  }

  /** Asks, also while the service is killed: what is not answered is undefined. */
  async ask(method: string, path: string, body?: unknown) {
    const asked = this.#answered(method, `/v1/groups/g${path}`, body);
    if (--this.killIn > 0) return asked;
    this.killIn = Number.POSITIVE_INFINITY;
    const answered = asked.catch(() => undefined);
    // Before it comes, while it is worked on, or after.
    await Promise.race([answered, sleep(this.#random() * 4)]);
    this.#service.child.kill('SIGKILL');
    await endProcess(this.#service, 'SIGKILL');
    this.numKills++;
    const answer = await answered;
    this.#service = await this.#start();
    return answer;
  }

  /** Services that share etcd may lose their leader at any time: all that is asked here may be repeated. */
  async #answered(method: string, path: string, body: unknown): Promise<Answer> {
    for (let i = 0; ; i++) {
      const answer = await ask(this.#service.address, method, path, body);
      if (answer.status !== 503 || i === MOST_LOOKS) return answer;
      await sleep(20);
    }
  }

  async join(): Promise<void> {
    const { epoch, digest } = (await this.ask('GET', ''))!.json;
    this.live.set(epoch, digest);
    for (let rank = 0; rank < SIZES.numRanks; rank++) {
      const holds = { epoch, digest };
      this.machines.push(new RankMachine({ numLayers: 2, incarnation: 1, holds, leadSteps: 1 }));
    }
  }

  /** Each rank gives a sign of life, does what it is told, and begins a step. */
  async round(): Promise<void> {
    this.#step++;
    for (const [rank, machine] of this.machines.entries()) {
      const [message] = machine.tick().messages;
      const body = { incarnation: 1, ttlMs: 3_600_000, message };
      const answer = await this.ask('POST', `/ranks/${rank}/heartbeat`, body);
      for (const order of answer?.json?.messages ?? []) {
        for (const action of machine.receive(order).actions) {
          if (action.type === 'prepare') machine.prepared(action.token, action.layers);
          else if (action.type === 'restore') assert.fail('no rank was lost');
        }
      }
      for (const action of machine.beginStep(this.#step).actions) {
        if (action.type !== 'swap') continue;
        machine.swapped(action.token);
        this.activated[rank]!.push(action.epoch);
        this.hear({ epoch: action.epoch, digest: action.digest, state: 'active' });
      }
    }
  }

  /** What was told holds for ever. */
  hear({ epoch, digest, state }: Told, operationId = ''): void {
    if (['activating', 'active', 'fenced'].includes(state)) {
      assert.equal(digest, this.live.get(epoch) ?? digest, `epoch ${epoch} has two mappings`);
      this.live.set(epoch, digest);
    }
    if (!['active', 'fenced', 'aborted'].includes(state)) return;
    assert.equal(state, this.#ended.get(operationId) ?? state, `${operationId} ended twice`);
    if (operationId !== '') this.#ended.set(operationId, state);
  }

  async end(): Promise<void> {
    await endProcess(this.#service, 'SIGKILL');
  }
}

/**
 * Takes ranks from epoch to epoch, while the service that they ask is killed in each of these.
 *
 * @param start gives the service to ask next: at the beginning, and after each kill
 */
export async function surviveKills(start: () => Promise<ServiceProcess>, numKills: number): Promise<void> {
  const engine = new Engine(await start(), start);
  try {
    await engine.ask('PUT', '', SIZES);
    await engine.join();
    for (let i = 0; i < numKills; i++) {
      await engine.round();
      const loads = [0, 1].map((layer) =>
        [0, 1, 2, 3].map((expert) => 1 + 50 * Number((i + layer) % 4 === expert)),
      );
      const { json: plan } = (await engine.ask('POST', '/plan', { loads }))!;
      assert.equal(plan.status, 'planned');
      const name = `attempt-${i}`;
      const offer = {
        digest: plan.digest,
        operationId: name,
        activation: i % 2 === 0 ? 'whenPrepared' : 'onRequest',
      };
      engine.killIn = 1 + ((i * 5) % NUM_REQUESTS);
      await migrate(engine, offer);
      engine.killIn = Number.POSITIVE_INFINITY;
    }
    await checkEnd(engine, numKills);
  } finally {
    await engine.end();
  }
}

/** Brings an attempt to its end, through whatever kills. */
async function migrate(engine: Engine, offer: { digest: string; operationId: string; activation: string }) {
  for (let round = 0; ; round++) {
    assert.ok(round < MOST_ROUNDS, 'the attempt does not end');
    const offered = await engine.ask('POST', '/epochs', offer);
    // A plan that was answered before the kill is known no more, unless it was offered.
    if (offered?.status === 404) return;
    // Ranks have not said again that they are at the live epoch.
    const isEarly =
      offered?.json?.code === 'EPLB_CONFLICT' && /unconfirmed|no ranks/.test(offered.json.message);
    if (offered !== undefined && !isEarly) {
      assert.ok(offered.status < 300, JSON.stringify(offered.json));
      engine.hear(offered.json, offer.operationId);
      const { state, epoch } = offered.json;
      if (['active', 'fenced', 'aborted'].includes(state)) {
        assert.equal(state, 'active');
        return;
      }
      if (state === 'prepared') {
        const activated = await engine.ask('POST', `/epochs/${epoch}/activate`);
        if (activated?.status === 200) engine.hear(activated.json, offer.operationId);
      }
    }
    await engine.round();
    const view = await engine.ask('GET', '');
    if (view === undefined) continue;
    engine.hear({ ...view.json, state: 'active' });
    assert.ok(view.json.epoch >= Math.max(...engine.live.keys()), 'an epoch that was told is lost');
  }
}

async function checkEnd(engine: Engine, numKills: number): Promise<void> {
  for (let i = 0; i < 4; i++) await engine.round();
  const { epoch, digest, ranks, underWay } = (await engine.ask('GET', ''))!.json;
  assert.deepEqual([ranks.serving, underWay, digest], [SIZES.numRanks, null, engine.live.get(epoch)]);
  for (const machine of engine.machines) assert.deepEqual(machine.view().holds, { epoch, digest });
  // Every rank went through all of them, one after the other.
  const all = Array.from({ length: epoch }, (_, i) => i + 1);
  for (const epochs of engine.activated) assert.deepEqual(epochs, all);
  assert.ok(
    engine.numKills >= numKills - 1 && epoch > numKills / 3,
    `${engine.numKills} kills, epoch ${epoch}`,
  );
}

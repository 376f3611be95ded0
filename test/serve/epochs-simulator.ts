import assert from 'node:assert/strict';
import type { Topology } from '../../src/core/topology.ts';
import type { ExpertMapping } from '../../src/mapping/expert-mapping.ts';
import type { CoordinatorMessage } from '../../src/migration/messages.ts';
import type { RankAction, RankMachine, RankOutput } from '../../src/migration/rank-machine.ts';
import type { FullDeclaration } from '../../src/serve/declaration.ts';
import type { EpochHost } from '../../src/serve/epochs/epoch-host.ts';
import type { EventSink } from '../../src/serve/epochs/event-hub.ts';
import type { GroupEpochs } from '../../src/serve/epochs/group-epochs.ts';
import type { StateRecord } from '../../src/serve/group-store.ts';
import type { Held } from '../../src/serve/live-epochs.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { loadEpochs } from '../helpers/epochs.ts';

// A group of the service and its ranks in one thread, with one source of chance and a clock of its own. What
// ranks say and are told is lost, doubled and reordered; ranks and the service are killed at any point, also
// within an append. What is checked is what docs/serve.md promises.

const { GroupEpochs: Epochs, ExpertMapping: Mapping, RankMachine: Machine, ...parts } = await loadEpochs();

/** What happened, so that a test can tell that all of it did. */
export interface EpochTally {
  active: number;
  fenced: number;
  aborted: number;
  repairs: number;
  deaths: number;
  serviceKills: number;
  tornAppends: number;
  lost: number;
  served: number;
  refused: number;
  grown: number;
  shrunk: number;
}

export const emptyEpochTally = (): EpochTally => ({
  ...{ active: 0, fenced: 0, aborted: 0, repairs: 0, deaths: 0, serviceKills: 0, tornAppends: 0 },
  ...{ lost: 0, served: 0, refused: 0, grown: 0, shrunk: 0 },
});

const NUM_LAYERS = 2;
const NUM_EXPERTS = 4;
const SLOTS_PER_RANK = 3;
const MOST_RANKS = 6;
const TTL_MS = 40;
const LEAD_STEPS = 3;
/** Of a journal, before it is made shorter. */
const MOST_LINES = 12;
const MOST_CALM_TURNS = 400;

interface SimulatedRank {
  machine: RankMachine;
  isAlive: boolean;
  incarnation: number;
  work: RankAction[];
  said: string;
  step: number;
  hasJoined: boolean;
  /** Nothing of it arrives, nor anything for it. */
  isCut: boolean;
  /** By its own reckoning: from the sending of the last heartbeat that was answered. */
  leaseUntilMs: number;
  /** What its slots hold, by digest; undefined when they hold nothing whole. */
  content: string | undefined;
  buffers: Map<number, string>;
  /** Epochs that it has served, in order. */
  epochs: number[];
}

interface HeardEpoch {
  readonly what: string;
  readonly operationId: string;
  readonly state: 'active' | 'fenced' | 'aborted';
  readonly epoch: number;
  readonly digest: string;
}

type Packet =
  | {
      readonly kind: 'heartbeat';
      readonly rank: number;
      readonly incarnation: number;
      readonly sentMs: number;
      readonly message: object;
    }
  | {
      readonly kind: 'order';
      readonly rank: number;
      readonly message: CoordinatorMessage;
    };

/** Groups of it name no devices that differ. */
function topologyOf({ numLayers, numLogicalExperts, ...more }: FullDeclaration): Topology {
  const { numPhysicalExperts, numRanks, numNodes, numGroups } = more;
  return { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
}

/** Lets everything end that waits for nothing but this thread. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

export class EpochSimulation {
  readonly #random: () => number;
  /** As in etcd; a folder does not. */
  readonly #keepsAcks: boolean;
  readonly #tally: EpochTally;
  #numRanks: number;
  #declaration: FullDeclaration;
  readonly #ranks: SimulatedRank[] = [];
  #packets: Packet[] = [];
  #lines: StateRecord[] = [];
  #epochs: GroupEpochs | undefined;
  #service = { number: 0 };
  #live: { epoch: number; held: Held };
  #mappings = new Map<number, ExpertMapping>();
  readonly #answered = new Map<string, { held: Held; epoch: number }>();
  #timers: { atMs: number; work: () => void }[] = [];
  #nowMs = 0;
  #frontier = 0;
  #isCalm = false;
  /** The digest of every epoch that anybody was told is live. */
  readonly #told = new Map<number, string>();
  readonly #outcomes = new Map<string, string>();
  readonly #servedAt = new Map<number, string>();
  #numOffers = 0;

  constructor(seed: number, tally: EpochTally) {
    this.#random = seededRandom(seed);
    this.#keepsAcks = seed % 2 === 0;
    this.#tally = tally;
    this.#numRanks = 2 + Math.floor(3 * this.#random());
    const first = this.#mapping(
      [...Array(this.#numRanks * SLOTS_PER_RANK).keys()].map((i) => i % NUM_EXPERTS),
    );
    this.#live = { epoch: 0, held: parts.held(first) };
    this.#told.set(0, this.#live.held.digest);
    const sizes = { numLayers: NUM_LAYERS, numLogicalExperts: NUM_EXPERTS, numRanks: this.#numRanks };
    this.#declaration = {
      ...{ ...sizes, numPhysicalExperts: this.#numRanks * SLOTS_PER_RANK, numNodes: 1, numGroups: 1 },
      ...{ policy: 'adaptive', windowSize: 1, dryRun: false },
      migration: {
        ...{ prepareTimeoutMs: 150, armTimeoutMs: 60, activateTimeoutMs: 80, resendMs: 10 },
        onLostRank: this.#chance(0.5) ? 'exclude' : 'abort',
      },
    };
    this.#lines.push({ kind: 'group', declaration: this.#declaration });
    for (let rank = 0; rank < this.#numRanks; rank++) {
      const content = this.#live.held.digest;
      this.#ranks.push({ ...this.#newRank(this.#machine(1, 0)), isAlive: true, incarnation: 1, content });
    }
  }

  /** One that was never started. */
  #newRank(machine: RankMachine): SimulatedRank {
    return {
      ...{ machine, isAlive: false, incarnation: 0, work: [], said: '', step: 0, hasJoined: false },
      ...{ isCut: false, leaseUntilMs: -1, content: undefined, buffers: new Map(), epochs: [] },
    };
  }

  async run(numTurns: number): Promise<void> {
    await this.#startService();
    for (let i = 0; i < numTurns; i++) await this.#disturbedTurn();
    this.#isCalm = true;
    for (let i = 0; !this.#isSettled(); i++) {
      assert.ok(i < MOST_CALM_TURNS, `the group does not come to rest: ${this.#describe()}`);
      await this.#calmTurn();
    }
    this.#epochs!.close();
    for (const { content } of this.#there) assert.equal(content, this.#live.held.digest);
  }

  /** Ranks of the group by now. */
  get #there(): readonly SimulatedRank[] {
    return this.#ranks.slice(0, this.#numRanks);
  }

  #describe(): string {
    const ranks = this.#ranks.map(({ machine }) => machine.view());
    const more = this.#ranks.map(({ step, hasJoined, leaseUntilMs, isAlive }) => ({
      step,
      hasJoined,
      leaseUntilMs,
      isAlive,
    }));
    const now = { nowMs: this.#nowMs, frontier: this.#frontier };
    return JSON.stringify({ ...now, live: this.#live.epoch, counts: this.#epochs?.rankCounts, more, ranks });
  }

  // --- chance and time -------------------------------------------------------------------------------------

  #below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #fault(probability: number): boolean {
    return !this.#isCalm && this.#chance(probability);
  }

  async #passTime(ms: number): Promise<void> {
    this.#nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { work } of due) work();
    await turn();
  }

  async #disturbedTurn(): Promise<void> {
    const draw = 100 * this.#random();
    const rank = this.#below(this.#numRanks);
    if (this.#epochs === undefined && this.#chance(0.3)) await this.#startService();
    if (draw < 40) await this.#deliverAny();
    else if (draw < 56) this.#beginStep(rank);
    else if (draw < 70) this.#work(rank);
    else if (draw < 80) this.#take(rank, this.#ranks[rank]!.machine.tick(), true);
    else if (draw < 87) await this.#passTime(1 + this.#below(20));
    else if (draw < 91) await this.#offer();
    else if (draw < 92.5) await this.#request();
    else if (draw < 93) await this.#killRank(rank);
    else if (draw < 94) this.#ranks[rank]!.isCut = !this.#ranks[rank]!.isCut;
    else if (draw < 96.2) this.#startRank(rank);
    else if (draw < 97) await this.#resize();
    else if (draw < 98.5) this.#killService();
    else await this.#passTime(70);
  }

  async #calmTurn(): Promise<void> {
    if (this.#epochs === undefined) await this.#startService();
    for (let rank = 0; rank < this.#numRanks; rank++) {
      this.#startRank(rank);
      this.#take(rank, this.#ranks[rank]!.machine.tick(), true);
      while (this.#packets.length > 0) await this.#deliver(this.#packets.shift()!);
      while (this.#ranks[rank]!.work.length > 0) this.#work(rank);
      this.#beginStep(rank);
    }
    await this.#passTime(5);
  }

  #isSettled(): boolean {
    const { serving } = this.#epochs?.rankCounts ?? { serving: 0 };
    const live = parts.laidOut(this.#live.held.mapping, this.#declaration)!;
    const holders = new Set([...live.phyToLog].map((expert, i) => (expert < 0 ? -1 : this.#rankOf(i))));
    return (
      serving === this.#numRanks &&
      this.#epochs!.underWay === undefined &&
      [...Array(this.#numRanks).keys()].every((rank) => holders.has(rank)) &&
      this.#there.every(({ machine }) => {
        const { status, holds } = machine.view();
        return status === 'serving' && holds?.epoch === this.#live.epoch;
      })
    );
  }

  #rankOf(slot: number): number {
    return Math.floor((slot % (this.#numRanks * SLOTS_PER_RANK)) / SLOTS_PER_RANK);
  }

  // --- the service -----------------------------------------------------------------------------------------

  #mapping(row: readonly number[]): ExpertMapping {
    return Mapping.fromPhysicalToLogical([[...row], [...row]], NUM_EXPERTS);
  }

  async #startService(): Promise<void> {
    const saved = parts.stateOf('test', this.#lines)!;
    const service = { number: this.#service.number + 1 };
    this.#service = service;
    this.#timers = [];
    this.#live = {
      epoch: saved.epoch,
      held: saved.table ? parts.held(parts.mappingOfRecord(saved.table)) : this.#live.held,
    };
    this.#checkLive();
    this.#setRanks(saved.declaration);
    const isCurrent = () => this.#service === service;
    const simulation = this;
    let queue: Promise<unknown> = Promise.resolve();
    const host: EpochHost = {
      keepsAcks: this.#keepsAcks,
      ...{ name: 'g', isPaused: false, isDryRun: false },
      get declaration() {
        return simulation.#declaration;
      },
      get declared() {
        return topologyOf(simulation.#declaration);
      },
      get whole() {
        return topologyOf(simulation.#declaration);
      },
      live: () => this.#live,
      answered: (digest) => this.#answered.get(digest),
      lay: (mapping) => parts.laidOut(mapping, this.#declaration)!,
      resized: (epochs) =>
        this.#append(
          {
            ...{ kind: 'resized', declaration: this.#declaration, epochs },
            ...{ table: parts.mappingRecord(this.#live.held.mapping), earlier: undefined },
          },
          service,
        ),
      mappingAt: (epoch) => this.#mappings.get(epoch),
      averageLoads: () => undefined,
      nextStep: () => this.#frontier + 1,
      change: (work) => {
        const done = queue.then(work);
        queue = done.catch(() => undefined);
        return done;
      },
      append: (record) => this.#append(record, service),
      goLive: (epoch, next) => {
        assert.equal(epoch, this.#live.epoch + 1);
        this.#mappings.set(this.#live.epoch, this.#live.held.mapping);
        this.#live = { epoch, held: next };
        this.#checkLive();
      },
      changeRanks: () => undefined,
      coordinated: () => undefined,
      repairOf: ({ live, deadRanks, servingRanks }) => this.#repairOf(live, deadRanks, servingRanks),
      onFault: (error) => {
        if (isCurrent()) throw error;
      },
    };
    const time = {
      now: () => this.#nowMs,
      after: (ms: number, work: () => void) => {
        const timer = { atMs: this.#nowMs + ms, work: () => isCurrent() && work() };
        this.#timers.push(timer);
        return () => {
          this.#timers = this.#timers.filter((one) => one !== timer);
        };
      },
    };
    const epochs = new Epochs(host, time, 100, saved.epochs);
    this.#epochs = epochs;
    for (let rank = 0; rank < this.#numRanks; rank++) {
      void epochs.listen(this.#sink(rank, isCurrent), rank, undefined).catch(() => undefined);
    }
    void epochs.start().catch(() => undefined);
    await turn();
  }

  /** There are so many ranks by now; those that are new are started later. */
  #setRanks(declaration: FullDeclaration): void {
    this.#declaration = declaration;
    this.#numRanks = declaration.numRanks;
    // Of one that goes and comes again the number of its start is larger then.
    for (const rank of this.#ranks.slice(this.#numRanks)) rank.isAlive = false;
    while (this.#ranks.length < this.#numRanks) this.#ranks.push(this.#newRank(this.#machine(1, undefined)));
  }

  async #resize(): Promise<void> {
    const service = this.#service;
    const before = this.#numRanks;
    const numRanks = Math.max(1, Math.min(MOST_RANKS, before + (this.#chance(0.6) ? 1 : -1)));
    if (numRanks === before) return;
    const numPhysicalExperts = numRanks * SLOTS_PER_RANK;
    const declaration = { ...this.#declaration, numRanks, numPhysicalExperts };
    const move = () => this.#setRanks(declaration);
    const isCurrent = () => this.#service === service;
    const asked = this.#epochs?.resize({ numRanks, deadRanks: [], speed: undefined, move });
    const told = asked?.then(() => {
      this.#tally[numRanks > before ? 'grown' : 'shrunk']++;
      const sink = this.#sink(numRanks - 1, isCurrent);
      if (numRanks > before) void this.#epochs?.listen(sink, numRanks - 1, undefined).catch(() => undefined);
    });
    this.#try(told);
    await turn();
  }

  /** Dead for good: nothing that it still does is seen. */
  #killService(): void {
    if (this.#epochs === undefined) return;
    this.#tally.serviceKills++;
    this.#service = { number: this.#service.number };
    this.#epochs.hub.close();
    this.#epochs = undefined;
    this.#timers = [];
  }

  #append(record: StateRecord, service: object): Promise<void> {
    if (this.#service !== service) return new Promise(() => undefined);
    const isTorn = this.#fault(0.04);
    if (!isTorn) {
      if (this.#lines.length > MOST_LINES) this.#lines = [this.#whole()];
      this.#lines.push(structuredClone(record));
    }
    if (isTorn) this.#tally.tornAppends++;
    if (!isTorn && !this.#fault(0.02)) return Promise.resolve();
    this.#killService();
    return new Promise(() => undefined);
  }

  /** All that was kept, in one line: as a group's journal is made shorter. */
  #whole(): StateRecord {
    const { epoch, held } = this.#live;
    const { declaration } = parts.stateOf('test', this.#lines)!;
    const state = {
      ...{ declaration, epoch },
      ...{ table: parts.mappingRecord(held.mapping), plans: [], paused: false, dryRun: false },
      ...{ counters: undefined, epochs: structuredClone(this.#epochs!.saved) },
    };
    return { kind: 'whole', state };
  }

  /** What an epoch is told to be it stays, and none before it comes back. */
  #checkLive(): void {
    const { epoch, held } = this.#live;
    assert.ok(epoch >= Math.max(...this.#told.keys()), `epoch ${epoch} is live, and a later one was told`);
    this.#tell(epoch, held.digest);
  }

  #tell(epoch: number, digest: string): void {
    assert.equal(digest, this.#told.get(epoch) ?? digest, `epoch ${epoch} has two mappings`);
    this.#told.set(epoch, digest);
  }

  /** Takes over what dead ranks alone have, and fills ranks that have nothing. */
  #repairOf(
    live: ExpertMapping,
    deadRanks: readonly number[],
    servingRanks: readonly number[],
  ): ExpertMapping {
    this.#tally.repairs++;
    const row = [...live.phyToLog.subarray(0, this.#numRanks * SLOTS_PER_RANK)];
    for (const [slot] of row.entries()) if (deadRanks.includes(this.#rankOf(slot))) row[slot] = -1;
    for (const [slot, expert] of row.entries()) {
      if (expert < 0 && servingRanks.includes(this.#rankOf(slot))) row[slot] = slot % NUM_EXPERTS;
    }
    for (let expert = 0; expert < NUM_EXPERTS; expert++) {
      if (row.includes(expert)) continue;
      const spare = row.findIndex((own) => own >= 0 && row.indexOf(own) !== row.lastIndexOf(own));
      if (spare < 0) throw new parts.EplbRangeError('EPLB_TOPOLOGY', 'too few slots');
      row[spare] = expert;
    }
    return this.#mapping(row);
  }

  #sink(rank: number, isCurrent: () => boolean): EventSink {
    return {
      waitingBytes: 0,
      write: (text) => {
        if (!isCurrent()) return;
        const [, type] = /^event: (\w+)$/m.exec(text) ?? [];
        const data = JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? '{}');
        if (type === 'message') this.#post({ kind: 'order', rank, message: data });
        else if (type === 'epoch' && rank === 0) this.#hear(data);
      },
      end: () => undefined,
      cut: () => undefined,
    };
  }

  /** What all are told of attempts: each ends once, and what was decided is not taken back. */
  #hear({ what, operationId, state, epoch, digest }: HeardEpoch): void {
    if (what === 'decided') this.#tell(epoch, digest);
    if (what !== 'ended') return;
    const before = this.#outcomes.get(operationId);
    assert.equal(state, before ?? state, `${operationId} ended twice`);
    if (before === undefined) this.#tally[state]++;
    this.#outcomes.set(operationId, state);
    if (state !== 'aborted') this.#tell(epoch, digest);
  }

  async #offer(): Promise<void> {
    const row = [...Array(this.#numRanks * SLOTS_PER_RANK).keys()].map(
      (i) => (i + this.#numOffers) % NUM_EXPERTS,
    );
    const plan = parts.held(this.#mapping(row));
    this.#answered.set(plan.digest, { held: plan, epoch: this.#live.epoch });
    const operationId = `o${this.#numOffers++}`;
    const activation = this.#chance(0.2) ? 'onRequest' : 'whenPrepared';
    this.#try(this.#epochs?.offer({ digest: plan.digest, operationId, activation }));
    await turn();
  }

  async #request(): Promise<void> {
    const epoch = this.#live.epoch + 1;
    this.#try(
      this.#chance(0.5) ? this.#epochs?.activate(epoch, undefined) : this.#epochs?.abort(epoch, 'enough'),
    );
    await turn();
  }

  #try(asked: Promise<unknown> | undefined): void {
    asked?.catch((error: { code?: string }) => {
      assert.match(String(error.code), /^EPLB_(CONFLICT|STALE|NOT_FOUND|CLOSED)$/, String(error));
      this.#tally.refused++;
    });
  }

  // --- the network -----------------------------------------------------------------------------------------

  #post(packet: Packet): void {
    if (this.#fault(0.08) || (this.#ranks[packet.rank]!.isCut && !this.#isCalm)) this.#tally.lost++;
    else this.#packets.push(packet);
    if (this.#fault(0.05)) this.#packets.push(packet);
  }

  async #deliverAny(): Promise<void> {
    if (this.#packets.length === 0) return;
    const at = Math.floor(this.#packets.length * this.#random() * this.#random());
    const [packet] = this.#packets.splice(at, 1);
    await this.#deliver(packet!);
  }

  async #deliver(packet: Packet): Promise<void> {
    // A rank that is gone is refused by its number.
    if (packet.rank >= this.#numRanks) return;
    if (packet.kind === 'order') {
      const rank = this.#ranks[packet.rank]!;
      if (!rank.isAlive) return;
      this.#take(packet.rank, rank.machine.receive(packet.message));
      return;
    }
    const { rank, incarnation, sentMs, message } = packet;
    const body = { incarnation, ttlMs: TTL_MS, message: message as Record<string, unknown> };
    const service = this.#service;
    const answered = this.#epochs?.heartbeat(rank, body) as
      | Promise<{ lease: string; messages: readonly CoordinatorMessage[] }>
      | undefined;
    this.#try(
      answered?.then(({ lease, messages }) => {
        const own = this.#ranks[rank]!;
        if (this.#service !== service || own.incarnation !== incarnation || !own.isAlive) return;
        if (this.#fault(0.1)) return;
        for (const order of messages) this.#take(rank, own.machine.receive(order));
        if (lease === 'alive') own.leaseUntilMs = Math.max(own.leaseUntilMs, sentMs + TTL_MS);
      }),
    );
    await turn();
  }

  // --- ranks -----------------------------------------------------------------------------------------------

  #machine(incarnation: number, epoch: number | undefined): RankMachine {
    const holds = epoch === undefined ? null : { epoch, digest: this.#told.get(epoch)! };
    return new Machine({ numLayers: NUM_LAYERS, incarnation, holds, leadSteps: LEAD_STEPS });
  }

  #take(rank: number, { messages, actions }: RankOutput, isDue = false): void {
    const own = this.#ranks[rank]!;
    if (!own.isAlive) return;
    for (const message of messages) {
      const { incarnation } = own;
      // What it said before it says again at its next sign of life.
      const said = JSON.stringify(message);
      if (said === own.said && !isDue) continue;
      own.said = said;
      this.#post({ kind: 'heartbeat', rank, incarnation, sentMs: this.#nowMs, message });
      if (message.type === 'hello') own.hasJoined = false;
    }
    own.work.push(...actions);
  }

  #work(rank: number): void {
    const own = this.#ranks[rank]!;
    const action = own.work.shift();
    if (action === undefined || !own.isAlive) return;
    const { machine, buffers } = own;
    if (action.type === 'prepare') {
      if (this.#fault(0.1)) {
        this.#take(rank, machine.refused(action.token, action.layers, 'no room'));
        return;
      }
      buffers.set(action.token, action.digest);
      const [first, ...others] = action.layers;
      this.#take(rank, machine.prepared(action.token, [first!]));
      this.#take(rank, machine.prepared(action.token, others));
    } else if (action.type === 'swap') {
      if (machine.view().operation?.state !== 'swapping') return;
      if (this.#fault(0.1)) {
        own.content = undefined;
        this.#take(rank, machine.failed(action.token, action.layers, 'no memory'));
        return;
      }
      assert.equal(buffers.get(action.token), action.digest, 'it swaps what it has not prepared');
      own.content = action.digest;
      this.#take(rank, machine.swapped(action.token));
    } else if (action.type === 'restore') {
      own.content = action.digest;
      this.#take(rank, machine.restored(action));
    } else buffers.delete(action.token);
  }

  #beginStep(rank: number): void {
    const own = this.#ranks[rank]!;
    // A rank stops with its lease.
    if (!own.isAlive || this.#nowMs >= own.leaseUntilMs) return;
    const others = this.#ranks.filter(
      (one) => one !== own && one.isAlive && one.hasJoined && one.machine.isServing,
    );
    const next = own.hasJoined ? own.step + 1 : Math.max(this.#frontier, own.step) + 1;
    if (others.some(({ step }) => step + LEAD_STEPS < next)) return;
    const { messages, actions, answer } = own.machine.beginStep(next);
    this.#take(rank, { messages, actions });
    if (answer.status === 'wait' && answer.fromStep !== undefined && others.length === 0 && !own.hasJoined) {
      // Nobody serves: all skip to it.
      this.#frontier = Math.max(this.#frontier, answer.fromStep - 1);
    }
    if (answer.status !== 'serve') return;
    own.hasJoined = true;
    own.step = next;
    this.#frontier = Math.max(this.#frontier, next);
    this.#checkServed(own, next, answer);
  }

  #checkServed(own: SimulatedRank, step: number, { epoch, digest }: { epoch: number; digest: string }): void {
    this.#tally.served++;
    assert.equal(this.#told.get(epoch), digest, `epoch ${epoch} is served, and was never decided`);
    assert.equal(own.content, digest, `step ${step} is served with other weights`);
    const before = this.#servedAt.get(step);
    assert.equal(`${epoch} ${digest}`, before ?? `${epoch} ${digest}`, `step ${step} has two epochs`);
    this.#servedAt.set(step, `${epoch} ${digest}`);
    const last = own.epochs.at(-1) ?? -1;
    assert.ok(epoch >= last, `epoch ${last} came back as ${epoch}`);
    if (epoch > last) own.epochs.push(epoch);
  }

  async #killRank(rank: number): Promise<void> {
    const own = this.#ranks[rank]!;
    if (!own.isAlive) return;
    own.isAlive = false;
    own.work = [];
    this.#tally.deaths++;
    // Who has seen it die may say so.
    if (!this.#chance(0.5)) return;
    this.#try(this.#epochs?.reportRanks({ dead: [rank] }));
    await turn();
  }

  #startRank(rank: number): void {
    const own = this.#ranks[rank]!;
    if (own.isAlive) return;
    own.isAlive = true;
    own.incarnation++;
    own.hasJoined = false;
    own.leaseUntilMs = -1;
    own.buffers.clear();
    own.content = undefined;
    own.machine = this.#machine(own.incarnation, undefined);
    this.#take(rank, own.machine.tick(), true);
  }
}

import assert from 'node:assert/strict';
import type { Topology } from '../../src/core/topology.ts';
import type { ExpertMapping } from '../../src/mapping/expert-mapping.ts';
import type { CoordinatorMessage } from '../../src/migration/messages.ts';
import type { FullDeclaration } from '../../src/serve/declaration.ts';
import type { EpochHost } from '../../src/serve/epochs/epoch-host.ts';
import type { EventSink } from '../../src/serve/epochs/event-hub.ts';
import type { GroupEpochs } from '../../src/serve/epochs/group-epochs.ts';
import type { StateRecord } from '../../src/serve/group-store.ts';
import type { Held } from '../../src/serve/live-epochs.ts';
import { loadEpochs } from '../helpers/epochs.ts';
import { EpochWitness, type HeardEpoch } from './epoch-witness.ts';
import { type Heartbeat, SimulatedRanks } from './simulated-ranks.ts';
import { SimulatedWorld, turn } from './simulated-world.ts';

// A group of the service and its ranks in one thread, with one source of chance and a clock of its own. What
// ranks say and are told is lost, doubled and reordered; ranks and the service are killed at any point, also
// within an append. What is checked is what docs/serve.md promises.

const { GroupEpochs: Epochs, ExpertMapping: Mapping, ...parts } = await loadEpochs();

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
/** Of a journal, before it is made shorter. */
const MOST_LINES = 12;
const MOST_CALM_TURNS = 400;

type Packet =
  | Heartbeat
  | { readonly kind: 'order'; readonly rank: number; readonly message: CoordinatorMessage };

/** Groups of it name no devices that differ. */
function topologyOf({ numLayers, numLogicalExperts, ...more }: FullDeclaration): Topology {
  const { numPhysicalExperts, numRanks, numNodes, numGroups } = more;
  return { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
}

/** A layer's slots without dead ranks: their experts taken over, and empty serving ranks filled. */
function repairedRow(
  live: Iterable<number>,
  rankOf: (slot: number) => number,
  deadRanks: readonly number[],
  servingRanks: readonly number[],
): number[] {
  const row = [...live];
  for (const [slot] of row.entries()) if (deadRanks.includes(rankOf(slot))) row[slot] = -1;
  for (const [slot, expert] of row.entries()) {
    if (expert < 0 && servingRanks.includes(rankOf(slot))) row[slot] = slot % NUM_EXPERTS;
  }
  for (let expert = 0; expert < NUM_EXPERTS; expert++) {
    if (row.includes(expert)) continue;
    const spare = row.findIndex((own) => own >= 0 && row.indexOf(own) !== row.lastIndexOf(own));
    if (spare < 0) throw new parts.EplbRangeError('EPLB_TOPOLOGY', 'too few slots');
    row[spare] = expert;
  }
  return row;
}

export class EpochSimulation {
  readonly #world: SimulatedWorld;
  readonly #witness = new EpochWitness();
  /** As in etcd; a folder does not. */
  readonly #keepsAcks: boolean;
  readonly #tally: EpochTally;
  #numRanks: number;
  #declaration: FullDeclaration;
  readonly #ranks: SimulatedRanks;
  #packets: Packet[] = [];
  #lines: StateRecord[] = [];
  #epochs: GroupEpochs | undefined;
  #service = { number: 0 };
  #live: { epoch: number; held: Held };
  #mappings = new Map<number, ExpertMapping>();
  readonly #answered = new Map<string, { held: Held; epoch: number }>();
  #numOffers = 0;

  constructor(seed: number, tally: EpochTally) {
    this.#world = new SimulatedWorld(seed);
    this.#ranks = new SimulatedRanks(this.#world, this.#witness, NUM_LAYERS, (packet) => this.#post(packet));
    this.#keepsAcks = seed % 2 === 0;
    this.#tally = tally;
    this.#numRanks = 2 + Math.floor(3 * this.#world.random());
    const first = this.#mapping(
      [...Array(this.#numRanks * SLOTS_PER_RANK).keys()].map((i) => i % NUM_EXPERTS),
    );
    this.#live = { epoch: 0, held: parts.held(first) };
    this.#witness.tell(0, this.#live.held.digest);
    const sizes = { numLayers: NUM_LAYERS, numLogicalExperts: NUM_EXPERTS, numRanks: this.#numRanks };
    this.#declaration = {
      ...{ ...sizes, numPhysicalExperts: this.#numRanks * SLOTS_PER_RANK, numNodes: 1, numGroups: 1 },
      ...{ policy: 'adaptive', windowSize: 1, dryRun: false },
      migration: {
        ...{ prepareTimeoutMs: 150, armTimeoutMs: 60, activateTimeoutMs: 80, resendMs: 10 },
        onLostRank: this.#world.chance(0.5) ? 'exclude' : 'abort',
      },
    };
    this.#lines.push({ kind: 'group', declaration: this.#declaration });
    for (let rank = 0; rank < this.#numRanks; rank++) this.#ranks.add(this.#live.held.digest);
  }

  async run(numTurns: number): Promise<void> {
    await this.#startService();
    for (let i = 0; i < numTurns; i++) await this.#disturbedTurn();
    this.#world.isCalm = true;
    for (let i = 0; !this.#isSettled(); i++) {
      assert.ok(i < MOST_CALM_TURNS, `the group does not come to rest: ${this.#describe()}`);
      await this.#calmTurn();
    }
    this.#epochs!.close();
    this.#tally.served += this.#ranks.numServed;
    for (const { content } of this.#there) assert.equal(content, this.#live.held.digest);
  }

  /** Ranks of the group by now. */
  get #there() {
    return this.#ranks.all.slice(0, this.#numRanks);
  }

  #describe(): string {
    const ranks = this.#ranks.all.map(({ machine }) => machine.view());
    const more = this.#ranks.all.map(({ step, hasJoined, leaseUntilMs, isAlive }) => ({
      step,
      hasJoined,
      leaseUntilMs,
      isAlive,
    }));
    const now = { nowMs: this.#world.nowMs, frontier: this.#ranks.frontier };
    return JSON.stringify({ ...now, live: this.#live.epoch, counts: this.#epochs?.rankCounts, more, ranks });
  }

  // --- turns -----------------------------------------------------------------------------------------------

  async #disturbedTurn(): Promise<void> {
    const world = this.#world;
    const draw = 100 * world.random();
    const rank = world.below(this.#numRanks);
    if (this.#epochs === undefined && world.chance(0.3)) await this.#startService();
    if (draw < 40) await this.#deliverAny();
    else if (draw < 56) this.#ranks.beginStep(rank);
    else if (draw < 70) this.#ranks.work(rank);
    else if (draw < 80) this.#ranks.tick(rank);
    else if (draw < 87) await world.passTime(1 + world.below(20));
    else if (draw < 91) await this.#offer();
    else if (draw < 92.5) await this.#request();
    else if (draw < 93) await this.#killRank(rank);
    else if (draw < 94) this.#ranks.all[rank]!.isCut = !this.#ranks.all[rank]!.isCut;
    else if (draw < 96.2) this.#ranks.start(rank);
    else if (draw < 97) await this.#resize();
    else if (draw < 98.5) this.#killService();
    else await world.passTime(70);
  }

  async #calmTurn(): Promise<void> {
    if (this.#epochs === undefined) await this.#startService();
    for (let rank = 0; rank < this.#numRanks; rank++) {
      this.#ranks.start(rank);
      this.#ranks.tick(rank);
      while (this.#packets.length > 0) await this.#deliver(this.#packets.shift()!);
      while (this.#ranks.all[rank]!.work.length > 0) this.#ranks.work(rank);
      this.#ranks.beginStep(rank);
    }
    await this.#world.passTime(5);
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
    this.#world.dropTimers();
    this.#live = {
      epoch: saved.epoch,
      held: saved.table ? parts.held(parts.mappingOfRecord(saved.table)) : this.#live.held,
    };
    this.#witness.live(this.#live.epoch, this.#live.held.digest);
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
      nextStep: () => this.#ranks.frontier + 1,
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
        this.#witness.live(epoch, next.digest);
      },
      changeRanks: () => undefined,
      coordinated: () => undefined,
      repairOf: ({ live, deadRanks, servingRanks }) => this.#repairOf(live, deadRanks, servingRanks),
      onFault: (error) => {
        if (isCurrent()) throw error;
      },
    };
    const time = {
      now: () => this.#world.nowMs,
      after: (ms: number, work: () => void) => this.#world.after(ms, () => isCurrent() && work()),
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
    for (const rank of this.#ranks.all.slice(this.#numRanks)) rank.isAlive = false;
    while (this.#ranks.all.length < this.#numRanks) this.#ranks.add();
  }

  async #resize(): Promise<void> {
    const service = this.#service;
    const before = this.#numRanks;
    const numRanks = Math.max(1, Math.min(MOST_RANKS, before + (this.#world.chance(0.6) ? 1 : -1)));
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
    this.#world.dropTimers();
  }

  #append(record: StateRecord, service: object): Promise<void> {
    if (this.#service !== service) return new Promise(() => undefined);
    const isTorn = this.#world.fault(0.04);
    if (!isTorn) {
      if (this.#lines.length > MOST_LINES) this.#lines = [this.#whole()];
      this.#lines.push(structuredClone(record));
    }
    if (isTorn) this.#tally.tornAppends++;
    if (!isTorn && !this.#world.fault(0.02)) return Promise.resolve();
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

  #repairOf(
    live: ExpertMapping,
    deadRanks: readonly number[],
    servingRanks: readonly number[],
  ): ExpertMapping {
    this.#tally.repairs++;
    const row = live.phyToLog.subarray(0, this.#numRanks * SLOTS_PER_RANK);
    return this.#mapping(repairedRow(row, (slot) => this.#rankOf(slot), deadRanks, servingRanks));
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

  #hear(heard: HeardEpoch): void {
    const ended = this.#witness.hear(heard);
    if (ended !== undefined) this.#tally[ended]++;
  }

  async #offer(): Promise<void> {
    const row = [...Array(this.#numRanks * SLOTS_PER_RANK).keys()].map(
      (i) => (i + this.#numOffers) % NUM_EXPERTS,
    );
    const plan = parts.held(this.#mapping(row));
    this.#answered.set(plan.digest, { held: plan, epoch: this.#live.epoch });
    const operationId = `o${this.#numOffers++}`;
    const activation = this.#world.chance(0.2) ? 'onRequest' : 'whenPrepared';
    this.#try(this.#epochs?.offer({ digest: plan.digest, operationId, activation }));
    await turn();
  }

  async #request(): Promise<void> {
    const epoch = this.#live.epoch + 1;
    this.#try(
      this.#world.chance(0.5)
        ? this.#epochs?.activate(epoch, undefined)
        : this.#epochs?.abort(epoch, 'enough'),
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
    if (this.#world.fault(0.08) || (this.#ranks.all[packet.rank]!.isCut && !this.#world.isCalm))
      this.#tally.lost++;
    else this.#packets.push(packet);
    if (this.#world.fault(0.05)) this.#packets.push(packet);
  }

  async #deliverAny(): Promise<void> {
    if (this.#packets.length === 0) return;
    const at = Math.floor(this.#packets.length * this.#world.random() * this.#world.random());
    const [packet] = this.#packets.splice(at, 1);
    await this.#deliver(packet!);
  }

  async #deliver(packet: Packet): Promise<void> {
    // A rank that is gone is refused by its number.
    if (packet.rank >= this.#numRanks) return;
    if (packet.kind === 'order') {
      this.#ranks.receive(packet.rank, packet.message);
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
        const own = this.#ranks.all[rank]!;
        if (this.#service !== service || own.incarnation !== incarnation || !own.isAlive) return;
        if (this.#world.fault(0.1)) return;
        for (const order of messages) this.#ranks.receive(rank, order);
        if (lease === 'alive') own.leaseUntilMs = Math.max(own.leaseUntilMs, sentMs + TTL_MS);
      }),
    );
    await turn();
  }

  async #killRank(rank: number): Promise<void> {
    if (!this.#ranks.kill(rank)) return;
    this.#tally.deaths++;
    // Who has seen it die may say so.
    if (!this.#world.chance(0.5)) return;
    this.#try(this.#epochs?.reportRanks({ dead: [rank] }));
    await turn();
  }
}

import assert from 'node:assert/strict';
import type { CoordinatorMachine } from '../../src/migration/coordinator-machine.ts';
import type { CoordinatorOutput } from '../../src/migration/coordinator-output.ts';
import type { CoordinatorMessage, HeldEpoch, RankMessage } from '../../src/migration/messages.ts';
import type { MigrationTarget, OperationOutcome } from '../../src/migration/outcome.ts';
import type { RankAction, RankMachine, RankOutput } from '../../src/migration/rank-machine.ts';
import type { JournalRecord } from '../../src/migration/records.ts';

// A group of ranks and its coordinator, in one thread and with one source of chance: each schedule is the
// same again for the same seed. Messages are lost, doubled and reordered, ranks and coordinator crash at any
// point, links are cut, journals lose their tail. What is checked is what docs/migration.md promises.

/** The two machines under test, perhaps with a check taken out. */
export interface Machines {
  readonly CoordinatorMachine: typeof CoordinatorMachine;
  readonly RankMachine: typeof RankMachine;
}

/** What happened in some schedules, so that a test can tell that all of it did. */
export interface Tally {
  active: number;
  fenced: number;
  aborted: number;
  refusedOffers: number;
  coordinatorCrashes: number;
  tornAppends: number;
  rankCrashes: number;
  lostMessages: number;
  doubledMessages: number;
  cutLinks: number;
  failedSwaps: number;
  failedRestores: number;
  refusals: number;
  servedSteps: number;
}

export function emptyTally(): Tally {
  return {
    ...{ active: 0, fenced: 0, aborted: 0, refusedOffers: 0, coordinatorCrashes: 0, tornAppends: 0 },
    ...{ rankCrashes: 0, lostMessages: 0, doubledMessages: 0, cutLinks: 0, failedSwaps: 0 },
    ...{ failedRestores: 0, refusals: 0, servedSteps: 0 },
  };
}

/** How the tail of a journal that was being appended to reads after the crash: what is left of it. */
export type Tear = (
  durable: readonly (readonly JournalRecord[])[],
  batch: readonly JournalRecord[],
  random: () => number,
) => JournalRecord[][];

/** Xorshift: a few nanoseconds a number. */
function randomOf(seed: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** A schedule is over long before. */
const MOST_CALM_TURNS = 100;
/** No turn has a tenth of it. */
const MOST_ANSWERS = 2000;
/** Messages that may come once more. */
const REMEMBERED_PACKETS = 64;

type Packet =
  | { readonly toRank: true; readonly rank: number; readonly message: CoordinatorMessage }
  | { readonly toRank: false; readonly rank: number; readonly message: RankMessage };

/** A rank's process, its weights, and what its host has been asked to do. */
interface SimulatedRank {
  machine: RankMachine;
  isAlive: boolean;
  incarnation: number;
  /** What each layer's slots hold; -1 is broken. */
  content: number[];
  /** What each layer's buffer holds, by operation. */
  buffers: Map<number, Map<number, number>>;
  work: RankAction[];
  /** The last step that it began. */
  step: number;
  /** Since it joined, it has begun a step. */
  hasJoined: boolean;
}

class Simulation {
  readonly #machines: Machines;
  readonly #tally: Tally;
  readonly #tear: Tear;
  readonly #random: () => number;
  readonly #numRanks: number;
  readonly #numLayers: number;
  readonly #leadSteps: number;
  readonly #options: ConstructorParameters<typeof CoordinatorMachine>[0];
  readonly #ranks: SimulatedRank[] = [];
  readonly #packets: Packet[] = [];
  /** The newest of those that were delivered, in a ring. */
  readonly #past: Packet[] = [];
  #numDelivered = 0;
  readonly #cut: boolean[];
  /** Which content a mapping has, by its digest. */
  readonly #contents = new Map<string, number[]>();
  /** Which epoch and mapping a step was served at. */
  readonly #served = new Map<number, HeldEpoch>();
  readonly #offered = new Map<string, MigrationTarget>();
  readonly #accepted = new Set<string>();
  /** What the host was told, or found in the answer to an offer. */
  readonly #told = new Map<string, OperationOutcome>();
  #journal: JournalRecord[][] = [];
  #coordinator: CoordinatorMachine | undefined;
  #nowMs = 0;
  #isCalm = false;
  /** The largest step that any rank has begun. */
  #frontier = 0;
  #epochSeen = 0;
  #numOffers = 0;

  constructor(seed: number, machines: Machines, tally: Tally, tear: Tear) {
    this.#machines = machines;
    this.#tally = tally;
    this.#tear = tear;
    this.#random = randomOf(seed);
    this.#numRanks = 2 + Math.floor(3 * this.#random() * this.#random());
    this.#numLayers = 1 + this.#below(3);
    this.#leadSteps = 1 + this.#below(4);
    this.#options = {
      numRanks: this.#numRanks,
      numLayers: this.#numLayers,
      digest: 'd0',
      prepareTimeoutMs: 150,
      armTimeoutMs: 60,
      activateTimeoutMs: 80,
      resendMs: 10,
      onLostRank: this.#chance(0.5) ? 'exclude' : 'abort',
    };
    this.#cut = Array.from({ length: this.#numRanks }, () => false);
    const initial = Array.from({ length: this.#numLayers }, () => 0);
    this.#contents.set('d0', initial);
    for (let rank = 0; rank < this.#numRanks; rank++) {
      this.#ranks.push({
        machine: this.#rankMachine(0, { epoch: 0, digest: 'd0' }),
        ...{ isAlive: true, incarnation: 0, content: [...initial], buffers: new Map(), work: [] },
        ...{ step: 0, hasJoined: false },
      });
    }
    this.#startCoordinator();
    // Most schedules begin with a group that is up.
    if (this.#chance(0.9)) this.#startGroup();
  }

  run(): void {
    const numTurns = 30 + this.#below(50);
    for (let turn = 0; turn < numTurns; turn++) this.#disturbedTurn();
    this.#isCalm = true;
    this.#cut.fill(false);
    for (const [rank, { isAlive }] of this.#ranks.entries()) if (!isAlive) this.#startRank(rank);
    for (let turn = 0; !this.#isSettled(); turn++) {
      assert.ok(turn < MOST_CALM_TURNS, 'the group does not come to rest');
      this.#calmTurn(turn);
    }
    this.#checkEnd();
  }

  #startGroup(): void {
    this.#isCalm = true;
    for (let rank = 0; rank < this.#numRanks; rank++) this.#rankTick(rank);
    this.#deliverAll();
    this.#offer();
    this.#isCalm = false;
  }

  // --- chance ---------------------------------------------------------------------------------------------

  #below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** Something goes wrong, unless all is calm. */
  #fault(probability: number): boolean {
    return !this.#isCalm && this.#chance(probability);
  }

  // --- turns ----------------------------------------------------------------------------------------------

  #disturbedTurn(): void {
    const draw = 100 * this.#random();
    const rank = this.#below(this.#numRanks);
    if (draw < 47) this.#deliverAny();
    else if (draw < 64) this.#beginStep(rank);
    else if (draw < 80) this.#work(rank);
    else if (draw < 84) this.#passTime(1 + this.#below(15));
    else if (draw < 88) this.#rankTick(rank);
    else if (draw < 91) this.#offer();
    else if (draw < 91.8) this.#crashRank(rank);
    else if (draw < 93.5) this.#returnRank(rank);
    else if (draw < 94.4) this.#crashCoordinator();
    else if (draw < 95) this.#toggleLink(rank);
    else if (draw < 96.3) this.#request();
    else if (draw < 96.7) this.#fenceByHost(rank);
    else if (draw < 99.6) this.#deliverAgain();
    else this.#passTime(160);
  }

  #calmTurn(turn: number): void {
    if (this.#coordinator === undefined) this.#startCoordinator();
    this.#deliverAll();
    for (let i = 0; i < this.#numRanks; i++) {
      // Each is the first in its turn, and so may join when all others are at the same step.
      const rank = (turn + i) % this.#numRanks;
      while (this.#ranks[rank]!.work.length > 0) this.#work(rank);
      this.#beginStep(rank);
      if (turn % 2 === 0) this.#rankTick(rank);
    }
    this.#passTime(10);
  }

  #passTime(ms: number): void {
    this.#nowMs += ms;
    this.#withCoordinator((coordinator) => coordinator.tick(this.#nowMs));
  }

  // --- the coordinator ------------------------------------------------------------------------------------

  #startCoordinator(): void {
    const { CoordinatorMachine } = this.#machines;
    this.#coordinator = new CoordinatorMachine(this.#options, this.#journal.flat());
    this.#withCoordinator((coordinator) => coordinator.tick(this.#nowMs));
    this.#lookAtEpoch();
  }

  #crashCoordinator(): void {
    this.#coordinator = undefined;
    this.#tally.coordinatorCrashes++;
  }

  /** An input. What comes of it is made durable, then sent, then told. It may crash at any point. */
  #withCoordinator<T extends CoordinatorOutput>(
    input: (coordinator: CoordinatorMachine) => T,
  ): T | undefined {
    if (this.#coordinator === undefined) {
      if (!this.#isCalm && this.#chance(0.5)) return undefined;
      this.#startCoordinator();
      if (this.#coordinator === undefined) return undefined;
    }
    const output = input(this.#coordinator);
    if (!this.#append(output.records) || !this.#sendAll(output)) {
      this.#crashCoordinator();
      return undefined;
    }
    for (const event of output.events) {
      if (event.type === 'ended') this.#tell(event.outcome);
      else if (event.type === 'decided') this.#lookAtEpoch();
    }
    return output;
  }

  /** @returns whether the coordinator lives on */
  #append(records: readonly JournalRecord[]): boolean {
    if (records.length === 0) return true;
    if (this.#fault(0.01)) {
      this.#tally.tornAppends++;
      this.#journal = this.#tear(this.#journal, records, this.#random);
      return false;
    }
    this.#journal.push([...records]);
    return !this.#fault(0.02);
  }

  #sendAll({ messages }: CoordinatorOutput): boolean {
    for (const { rank, message } of messages) {
      if (this.#fault(0.002)) return false;
      this.#post({ toRank: true, rank, message });
    }
    return !this.#fault(0.002);
  }

  #lookAtEpoch(): void {
    if (this.#coordinator === undefined) return;
    const { epoch } = this.#coordinator.live;
    if (epoch < this.#epochSeen) assert.fail(`epoch ${this.#epochSeen} went back to ${epoch}`);
    this.#epochSeen = epoch;
  }

  // --- the host of the coordinator ------------------------------------------------------------------------

  #offer(): void {
    const again = this.#numOffers > 0 && this.#chance(0.2);
    const operationId = `o${again ? 1 + this.#below(this.#numOffers) : ++this.#numOffers}`;
    const target = this.#offered.get(operationId) ?? this.#newTarget(operationId);
    this.#offered.set(operationId, target);
    const answer = this.#withCoordinator((coordinator) => coordinator.offer(target, this.#nowMs))?.answer;
    if (answer === undefined) return;
    if (answer.status === 'accepted') this.#accepted.add(operationId);
    else if (answer.status === 'ended') this.#tell(answer.outcome);
    else {
      assert.ok(!this.#accepted.has(operationId), `${operationId} was accepted and is refused`);
      this.#tally.refusedOffers++;
    }
  }

  /** Some layers get a content that there was not. */
  #newTarget(operationId: string): MigrationTarget {
    const layers = [...Array(this.#numLayers).keys()].filter(() => this.#chance(0.6));
    if (layers.length === 0) layers.push(this.#below(this.#numLayers));
    const { epoch, digest } = this.#live();
    const content = [...this.#contents.get(digest)!];
    for (const layer of layers) content[layer] = this.#numOffers;
    this.#contents.set(`d-${operationId}`, content);
    return {
      ...{ operationId, digest: `d-${operationId}`, layers, fromEpoch: epoch },
      activation: this.#chance(0.15) ? 'onRequest' : 'whenPrepared',
    };
  }

  #live(): HeldEpoch {
    const { CoordinatorMachine } = this.#machines;
    const coordinator = this.#coordinator ?? new CoordinatorMachine(this.#options, this.#journal.flat());
    return coordinator.live;
  }

  #request(): void {
    if (this.#numOffers === 0) return;
    const operationId = `o${this.#numOffers}`;
    if (this.#chance(0.5)) {
      this.#withCoordinator((coordinator) => coordinator.abort(operationId, 'enough', this.#nowMs));
    } else this.#withCoordinator((coordinator) => coordinator.activate(operationId, this.#nowMs));
  }

  #tell(outcome: OperationOutcome): void {
    const { operationId } = outcome;
    const before = this.#told.get(operationId);
    if (before === undefined) {
      this.#told.set(operationId, outcome);
      this.#tally[outcome.status]++;
    } else if (outcome !== before) assert.deepEqual(outcome, before, 'an outcome changed');
  }

  // --- the network ----------------------------------------------------------------------------------------

  #post(packet: Packet): void {
    if (this.#fault(0.05) || (this.#cut[packet.rank] && this.#chance(0.7))) {
      this.#tally.lostMessages++;
      return;
    }
    this.#packets.push(packet);
    if (this.#fault(0.05)) {
      this.#packets.push(packet);
      this.#tally.doubledMessages++;
    }
  }

  /** Any message that is under way over a link that is not cut. */
  #deliverAny(): void {
    if (this.#packets.length === 0) return;
    // Mostly one of the older ones.
    const at = Math.floor(this.#packets.length * this.#random() * this.#random());
    const packet = this.#packets[at]!;
    if (this.#cut[packet.rank]) return;
    this.#packets[at] = this.#packets.at(-1)!;
    this.#packets.pop();
    this.#deliver(packet);
  }

  /** A message that came before comes once more. */
  #deliverAgain(): void {
    if (this.#past.length === 0) return;
    this.#deliver(this.#past[this.#below(this.#past.length)]!);
    this.#tally.doubledMessages++;
  }

  /** All that is under way, and what is answered to it, in order. */
  #deliverAll(): void {
    for (let i = 0; i < this.#packets.length; i++) {
      if (i === MOST_ANSWERS) assert.fail('the messages never end');
      this.#deliver(this.#packets[i]!);
    }
    this.#packets.length = 0;
  }

  #deliver(packet: Packet): void {
    const { rank, message } = packet;
    this.#past[this.#numDelivered++ % REMEMBERED_PACKETS] = packet;
    if (packet.toRank) {
      const { isAlive, machine } = this.#ranks[rank]!;
      if (!isAlive) return;
      this.#takeOutput(rank, machine.receive(message));
    } else this.#withCoordinator((coordinator) => coordinator.receive(rank, message, this.#nowMs));
  }

  #toggleLink(rank: number): void {
    this.#cut[rank] = !this.#cut[rank];
    if (this.#cut[rank]) this.#tally.cutLinks++;
  }

  // --- ranks ----------------------------------------------------------------------------------------------

  #rankMachine(incarnation: number, holds: HeldEpoch | null): RankMachine {
    const { RankMachine } = this.#machines;
    return new RankMachine({
      numLayers: this.#numLayers,
      incarnation,
      holds,
      leadSteps: this.#leadSteps,
    });
  }

  #takeOutput(rank: number, { messages, actions }: RankOutput): void {
    const simulated = this.#ranks[rank]!;
    for (const message of messages) {
      this.#post({ toRank: false, rank, message });
      // It is out, and joins the others' steps again when it is admitted.
      if (message.type === 'hello') simulated.hasJoined = false;
    }
    for (const action of actions) {
      if (action.type === 'drop') simulated.buffers.delete(action.token);
      else simulated.work.push(action);
    }
  }

  #rankTick(rank: number): void {
    const { isAlive, machine } = this.#ranks[rank]!;
    if (isAlive) this.#takeOutput(rank, machine.tick());
  }

  #crashRank(rank: number): void {
    const simulated = this.#ranks[rank]!;
    if (!simulated.isAlive) return;
    this.#tally.rankCrashes++;
    simulated.isAlive = false;
    simulated.work = [];
    simulated.buffers.clear();
    // The host may see the process end.
    if (this.#chance(0.4)) {
      this.#withCoordinator((coordinator) => coordinator.lost(rank, 'process ended', this.#nowMs));
    }
  }

  #returnRank(rank: number): void {
    if (!this.#ranks[rank]!.isAlive) this.#startRank(rank);
  }

  /** A new process: with what the old one held, when that outlived it, or with nothing. */
  #startRank(rank: number): void {
    const simulated = this.#ranks[rank]!;
    const { holds } = simulated.machine.view();
    const keeps = holds !== null && this.#chance(0.5) && !simulated.content.includes(-1);
    if (!keeps) simulated.content.fill(-1);
    simulated.incarnation++;
    simulated.isAlive = true;
    simulated.hasJoined = false;
    simulated.machine = this.#rankMachine(simulated.incarnation, keeps ? holds : null);
    this.#rankTick(rank);
  }

  #fenceByHost(rank: number): void {
    const { isAlive, machine, content } = this.#ranks[rank]!;
    if (!isAlive) return;
    const broken = this.#chance(0.5) ? [this.#below(this.#numLayers)] : [];
    for (const layer of broken) content[layer] = -1;
    this.#takeOutput(rank, machine.fence('found a fault', broken));
  }

  /** The host of a rank's weights gets on with what it was asked. */
  #work(rank: number): void {
    const simulated = this.#ranks[rank]!;
    const action = simulated.work.shift();
    if (!simulated.isAlive || action === undefined) return;
    if (action.type === 'prepare') this.#fillBuffers(rank, action);
    else if (action.type === 'swap') this.#swap(rank, action);
    else if (action.type === 'restore') this.#restore(rank, action);
  }

  #fillBuffers(rank: number, action: RankAction & { type: 'prepare' }): void {
    const { machine, buffers, work } = this.#ranks[rank]!;
    const { token, layers, digest } = action;
    if (machine.view().operation?.token !== token) return;
    if (this.#fault(0.06)) {
      this.#tally.refusals++;
      this.#takeOutput(rank, machine.refused(token, layers.slice(0, 1), 'no memory'));
      return;
    }
    const filled = buffers.get(token) ?? new Map<number, number>();
    buffers.set(token, filled);
    const layer = layers.find((each) => !filled.has(each))!;
    filled.set(layer, this.#contents.get(digest)![layer]!);
    // One layer after the other, with anything between.
    if (filled.size < layers.length) work.push(action);
    this.#takeOutput(rank, machine.prepared(token, [layer]));
  }

  #swap(rank: number, { token, layers }: RankAction & { type: 'swap' }): void {
    const { machine, content, buffers } = this.#ranks[rank]!;
    const isCurrent = machine.view().operation?.token === token;
    const failing = this.#fault(0.3) ? layers[this.#below(layers.length)]! : -1;
    for (const layer of layers) {
      // Whether it was told to stop or fails, some layers may be new by then.
      if (!isCurrent || layer === failing) {
        content[layer] = -1;
        break;
      }
      const filled = buffers.get(token)?.get(layer);
      assert.ok(filled !== undefined, 'a layer is swapped that was not prepared');
      content[layer] = filled;
    }
    buffers.delete(token);
    if (!isCurrent) return;
    if (failing >= 0) this.#tally.failedSwaps++;
    const isDone = failing === -1;
    this.#takeOutput(
      rank,
      isDone ? machine.swapped(token) : machine.failed(token, [failing], 'a copy failed'),
    );
  }

  #restore(rank: number, { epoch, digest }: RankAction & { type: 'restore' }): void {
    const { machine, content } = this.#ranks[rank]!;
    if (this.#fault(0.1)) {
      this.#tally.failedRestores++;
      content.fill(-1);
      this.#takeOutput(rank, machine.notRestored('no such file'));
      return;
    }
    for (const [layer, value] of this.#contents.get(digest)!.entries()) content[layer] = value;
    this.#takeOutput(rank, machine.restored({ epoch, digest }));
  }

  // --- steps ----------------------------------------------------------------------------------------------

  /** A step is joint: no rank begins one while another that serves is yet to begin the one before. */
  #beginStep(rank: number): void {
    const simulated = this.#ranks[rank]!;
    if (!simulated.isAlive) return;
    const isFenced = simulated.machine.view().status === 'fenced';
    // Who joins does so at a step that nobody has begun.
    const step = simulated.hasJoined || isFenced ? simulated.step + 1 : this.#frontier + 1;
    if (!isFenced && !this.#othersFollow(rank, step)) return;
    const output = simulated.machine.beginStep(Math.max(step, simulated.step + 1));
    this.#takeOutput(rank, output);
    if (output.answer.status === 'wait') this.#skipSteps(rank, output.answer.fromStep ?? 0);
    if (output.answer.status !== 'serve') return;
    simulated.step = Math.max(step, simulated.step + 1);
    simulated.hasJoined = true;
    this.#frontier = Math.max(this.#frontier, simulated.step);
    this.#checkServed(rank, simulated.step, output.answer);
  }

  /** A group of which no rank serves goes on with any later step. */
  #skipSteps(rank: number, toStep: number): void {
    const isIdle = this.#ranks.every((other, i) => i === rank || !other.isAlive || !other.hasJoined);
    if (isIdle) this.#frontier = Math.max(this.#frontier, toStep - 1);
  }

  #othersFollow(rank: number, step: number): boolean {
    return this.#ranks.every(
      (other, i) => i === rank || !other.isAlive || !other.hasJoined || other.step >= step - 1,
    );
  }

  #checkServed(rank: number, step: number, { epoch, digest }: HeldEpoch): void {
    this.#tally.servedSteps++;
    const before = this.#served.get(step);
    if (before === undefined) this.#served.set(step, { epoch, digest });
    else {
      const isSame = before.epoch === epoch && before.digest === digest;
      if (!isSame) assert.fail(`step ${step} at epochs ${before.epoch} and ${epoch} (rank ${rank})`);
    }
    const wanted = this.#contents.get(digest)!;
    const { content } = this.#ranks[rank]!;
    for (let layer = 0; layer < wanted.length; layer++) {
      if (content[layer] !== wanted[layer]) assert.fail(`rank ${rank} serves another layer ${layer}`);
    }
  }

  // --- the end --------------------------------------------------------------------------------------------

  /** Nothing is under way, and all ranks serve what the coordinator says is live. */
  #isSettled(): boolean {
    const coordinator = this.#coordinator;
    if (coordinator === undefined) return false;
    if (coordinator.nextTickMs() !== undefined) return false;
    const { epoch } = coordinator.live;
    return this.#ranks.every(({ machine }) => {
      const { status, holds, operation } = machine.view();
      return status === 'serving' && holds?.epoch === epoch && operation === undefined;
    });
  }

  #checkEnd(): void {
    const coordinator = this.#coordinator!;
    for (const operationId of this.#accepted) {
      const outcome = coordinator.outcome(operationId);
      assert.ok(outcome !== undefined, `${operationId} was accepted and has no outcome`);
      this.#tell(outcome);
    }
    for (const [operationId, outcome] of this.#told) {
      const kept = coordinator.outcome(operationId);
      if (kept !== outcome) assert.deepEqual(kept, outcome, 'an outcome that was told is lost');
      if (outcome.status === 'aborted') assert.ok(outcome.reason.cause, 'aborted without a reason');
      if (outcome.status === 'fenced') assert.ok(outcome.ranks.length > 0, 'fenced without ranks');
    }
    // The live epoch counts the operations that went live, each once.
    const view = coordinator.view();
    let numLive = 0;
    for (const target of this.#offered.values()) {
      const outcome = coordinator.outcome(target.operationId);
      if (outcome !== undefined && outcome.status !== 'aborted') numLive++;
    }
    assert.equal(view.epoch, numLive, 'an epoch that no operation raised');
    const wanted = this.#contents.get(view.digest);
    for (const { content } of this.#ranks) assert.equal(String(content), String(wanted));
  }
}

/**
 * Plays the schedule of a seed.
 *
 * @throws an AssertionError when the machines break what they promise
 */
export function playSchedule(seed: number, machines: Machines, tally: Tally, tear: Tear): void {
  new Simulation(seed, machines, tally, tear).run();
}

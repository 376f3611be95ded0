import assert from 'node:assert/strict';
import type { CoordinatorMessage } from '../../src/migration/messages.ts';
import type { RankAction, RankMachine, RankOutput } from '../../src/migration/rank-machine.ts';
import { loadEpochs } from '../helpers/epochs.ts';
import type { EpochWitness } from './epoch-witness.ts';
import type { SimulatedWorld } from './simulated-world.ts';

const { RankMachine: Machine } = await loadEpochs();

const LEAD_STEPS = 3;

/** One rank: its machine, and what the process around it has and does. */
export interface SimulatedRank {
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

/** A sign of life of a rank, on its way to the service. */
export interface Heartbeat {
  readonly kind: 'heartbeat';
  readonly rank: number;
  readonly incarnation: number;
  readonly sentMs: number;
  readonly message: object;
}

/** The processes of a group's ranks: they prepare, swap and serve, fail by chance, die and are started. */
export class SimulatedRanks {
  /** Also those that are no more of the group. */
  readonly all: SimulatedRank[] = [];
  /** The last step that any has served. */
  frontier = 0;
  /** Steps that were served. */
  numServed = 0;
  readonly #world: SimulatedWorld;
  readonly #witness: EpochWitness;
  readonly #numLayers: number;
  readonly #post: (packet: Heartbeat) => void;

  constructor(
    world: SimulatedWorld,
    witness: EpochWitness,
    numLayers: number,
    post: (packet: Heartbeat) => void,
  ) {
    this.#world = world;
    this.#witness = witness;
    this.#numLayers = numLayers;
    this.#post = post;
  }

  /** Adds one that was never started; or that holds the first epoch, and runs. */
  add(firstContent?: string): void {
    const runs = firstContent !== undefined;
    this.all.push({
      ...{ machine: this.#machine(1, runs ? 0 : undefined), isAlive: runs, incarnation: runs ? 1 : 0 },
      ...{ work: [], said: '', step: 0, hasJoined: false, isCut: false, leaseUntilMs: -1 },
      ...{ content: firstContent, buffers: new Map(), epochs: [] },
    });
  }

  #machine(incarnation: number, epoch: number | undefined): RankMachine {
    const holds = epoch === undefined ? null : { epoch, digest: this.#witness.digestAt(epoch)! };
    return new Machine({ numLayers: this.#numLayers, incarnation, holds, leadSteps: LEAD_STEPS });
  }

  /** Says again where it is. */
  tick(rank: number): void {
    this.#take(rank, this.all[rank]!.machine.tick(), true);
  }

  receive(rank: number, message: CoordinatorMessage): void {
    const own = this.all[rank]!;
    if (own.isAlive) this.#take(rank, own.machine.receive(message));
  }

  #take(rank: number, { messages, actions }: RankOutput, isDue = false): void {
    const own = this.all[rank]!;
    if (!own.isAlive) return;
    for (const message of messages) {
      const { incarnation } = own;
      // What it said before it says again at its next sign of life.
      const said = JSON.stringify(message);
      if (said === own.said && !isDue) continue;
      own.said = said;
      this.#post({ kind: 'heartbeat', rank, incarnation, sentMs: this.#world.nowMs, message });
      if (message.type === 'hello') own.hasJoined = false;
    }
    own.work.push(...actions);
  }

  /** Does the next thing that it was told to do. */
  work(rank: number): void {
    const own = this.all[rank]!;
    const action = own.work.shift();
    if (action === undefined || !own.isAlive) return;
    const { machine, buffers } = own;
    if (action.type === 'prepare') {
      if (this.#world.fault(0.1)) {
        this.#take(rank, machine.refused(action.token, action.layers, 'no room'));
        return;
      }
      buffers.set(action.token, action.digest);
      const [first, ...others] = action.layers;
      this.#take(rank, machine.prepared(action.token, [first!]));
      this.#take(rank, machine.prepared(action.token, others));
    } else if (action.type === 'swap') {
      if (machine.view().operation?.state !== 'swapping') return;
      if (this.#world.fault(0.1)) {
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

  beginStep(rank: number): void {
    const own = this.all[rank]!;
    // A rank stops with its lease.
    if (!own.isAlive || this.#world.nowMs >= own.leaseUntilMs) return;
    const others = this.all.filter(
      (one) => one !== own && one.isAlive && one.hasJoined && one.machine.isServing,
    );
    const next = own.hasJoined ? own.step + 1 : Math.max(this.frontier, own.step) + 1;
    if (others.some(({ step }) => step + LEAD_STEPS < next)) return;
    const { messages, actions, answer } = own.machine.beginStep(next);
    this.#take(rank, { messages, actions });
    if (answer.status === 'wait' && answer.fromStep !== undefined && others.length === 0 && !own.hasJoined) {
      // Nobody serves: all skip to it.
      this.frontier = Math.max(this.frontier, answer.fromStep - 1);
    }
    if (answer.status !== 'serve') return;
    own.hasJoined = true;
    own.step = next;
    this.frontier = Math.max(this.frontier, next);
    this.#serve(own, next, answer);
  }

  #serve(own: SimulatedRank, step: number, answer: { epoch: number; digest: string }): void {
    this.numServed++;
    this.#witness.served(step, answer, own.content);
    const last = own.epochs.at(-1) ?? -1;
    assert.ok(answer.epoch >= last, `epoch ${last} came back as ${answer.epoch}`);
    if (answer.epoch > last) own.epochs.push(answer.epoch);
  }

  /** @returns whether it was alive */
  kill(rank: number): boolean {
    const own = this.all[rank]!;
    if (!own.isAlive) return false;
    own.isAlive = false;
    own.work = [];
    return true;
  }

  /** Starts one that is dead: it holds nothing. */
  start(rank: number): void {
    const own = this.all[rank]!;
    if (own.isAlive) return;
    own.isAlive = true;
    own.incarnation++;
    own.hasJoined = false;
    own.leaseUntilMs = -1;
    own.buffers.clear();
    own.content = undefined;
    own.machine = this.#machine(own.incarnation, undefined);
    this.tick(rank);
  }
}

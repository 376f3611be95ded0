import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StepAnswer } from '../../migration/index.ts';
import type { GroupDeclaration } from '../../serve/index.ts';
import { ServiceClient, type ServicePlace, sleep } from '../service/client.ts';
import type { EngineEvent, Summary } from './events.ts';
import { Ledger } from './ledger.ts';
import type { FromRank, HeldWeights, RankSetup } from './messages.ts';
import { EnginePlanner, type EventBody } from './planner.ts';
import { RankHandle } from './rank-handle.ts';
import { LoadShift } from './shift.ts';

/** Between two looks at ranks none of which serves. */
const IDLE_MS = 10;

/** What a fake engine is made with. */
export interface FakeEngineOptions {
  readonly place: ServicePlace;
  readonly group: string;
  readonly declaration: GroupDeclaration & { readonly numPhysicalExperts: number; readonly numRanks: number };
  readonly expertBytes: number;
  readonly leaseMs: number;
  /** Whether the engine tells of deaths; else their leases run out. */
  readonly reportsDeaths: boolean;
  readonly planEvery: number;
  readonly stepsPerSecond: number;
  /** Ends after so many steps; undefined for none. */
  readonly numSteps: number | undefined;
  readonly kills: readonly { readonly rank: number; readonly step: number }[];
  /** Steps after its death that a rank is started again; 0 for never. */
  readonly backAfter: number;
  /** [layers x experts] of step after step, without end. Each is valid until the next. */
  readonly loads: AsyncIterator<Float32Array>;
  emit(event: EngineEvent): void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** A rank of the engine: its process, or when it died. */
interface Seat {
  readonly rank: number;
  handle: RankHandle | undefined;
  diedAtStep: number | undefined;
  /** Resolves when its death is known to the service. */
  told: Promise<void>;
  isServiceThere: boolean;
}

/**
 * An engine without a model: processes, one a rank, that go through the steps of a recording together, count
 * the tokens of their experts, move weights, die and come back.
 */
export class FakeEngine {
  readonly #options: FakeEngineOptions;
  readonly #client: ServiceClient;
  readonly #planner: EnginePlanner;
  readonly #ledger: Ledger;
  readonly #shift: LoadShift;
  readonly #seats: readonly Seat[];
  readonly #ending = new AbortController();
  #folder = '';
  /** As the service and the ranks count: some at the start are empty. */
  #step = 0;
  #epoch = -1;
  #numServed = 0;
  #isStarted = false;
  #isEnding = false;
  #lastIncarnation = 0;
  #kills: readonly { readonly rank: number; readonly step: number }[];
  /** Of the ranks that have swapped since the last step. */
  #held: { readonly isRestored: boolean; readonly weights: HeldWeights }[] = [];

  constructor(options: FakeEngineOptions) {
    const { place, group, signal, declaration, expertBytes, kills } = options;
    this.#options = options;
    this.#client = new ServiceClient(place);
    const ending = this.#ending.signal;
    signal.addEventListener('abort', () => this.#ending.abort(), { once: true });
    this.#planner = new EnginePlanner(this.#client, group, (event) => this.#emit(event), ending);
    this.#ledger = new Ledger(expertBytes);
    this.#shift = new LoadShift(declaration.numLayers, declaration.numLogicalExperts);
    this.#kills = kills;
    this.#seats = Array.from({ length: declaration.numRanks }, (_, rank) => ({
      ...{ rank, handle: undefined, diedAtStep: undefined, told: Promise.resolve(), isServiceThere: true },
    }));
  }

  /**
   * Runs until the signal is aborted, or all steps are served. All processes have ended then.
   *
   * @throws EplbError where there is no service, or it does not take the group
   */
  async run(): Promise<Summary> {
    const { group, place, declaration, expertBytes } = this.#options;
    try {
      const { numPhysicalExperts, numRanks, numLayers, numLogicalExperts } = declaration;
      const { window } = await this.#planner.declare(declaration);
      // An engine that is started anew counts on.
      this.#step = window.lastStep === null ? 0 : window.lastStep + 1;
      const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, expertBytes };
      this.#emit({ type: 'group', group, url: place.url, ...sizes });
      this.#folder = await mkdtemp(join(tmpdir(), 'eplb-ranks-'));
      for (const seat of this.#seats) this.#start(seat);
      void this.#planner.listen();
      await this.#steps();
      const summary = this.#ledger.summary(await this.#planner.gains());
      this.#emit({ type: 'summary', ...summary });
      return summary;
    } finally {
      this.#isEnding = true;
      this.#ending.abort();
      await Promise.all(this.#seats.map(({ handle }) => handle?.end()));
      if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true });
      this.#client.close();
    }
  }

  /** Kills a rank's process. @returns whether there is one */
  kill(rank: number): boolean {
    const handle = this.#seats[rank]?.handle;
    handle?.kill();
    return handle !== undefined;
  }

  /** Starts a rank that died. @returns whether it had */
  restart(rank: number): boolean {
    const seat = this.#seats[rank];
    if (seat === undefined || seat.handle !== undefined) return false;
    this.#emit({ type: 'restarted', rank });
    this.#start(seat);
    return true;
  }

  #emit(event: EventBody): void {
    if (event.type === 'aborted') this.#ledger.aborted();
    if (!this.#isEnding) this.#options.emit({ ...event, step: this.#numServed } as EngineEvent);
  }

  #start(seat: Seat): void {
    const { place, group, declaration, expertBytes, leaseMs, reportsDeaths } = this.#options;
    const { numLayers, numPhysicalExperts, numRanks, numNodes = 1 } = declaration;
    // The time: larger than those of an engine before this one.
    this.#lastIncarnation = Math.max(this.#lastIncarnation + 1, Date.now());
    const setup: RankSetup = {
      ...{ place, group: encodeURIComponent(group), numLayers, numPhysicalExperts, numRanks, numNodes },
      ...{ expertBytes, leaseMs, stopsWithLease: !reportsDeaths, folder: this.#folder },
      ...{ rank: seat.rank, incarnation: this.#lastIncarnation },
    };
    seat.diedAtStep = undefined;
    seat.isServiceThere = true;
    const handle = new RankHandle(setup, {
      onMessage: (message) => this.#hear(seat, message),
      onEnd: (reason) => this.#lost(seat, reason),
    });
    seat.handle = handle;
  }

  #lost(seat: Seat, reason: string): void {
    seat.handle = undefined;
    if (this.#isEnding) return;
    seat.diedAtStep = this.#numServed;
    this.#ledger.died(seat.rank, this.#numServed, this.#epoch, performance.now());
    this.#emit({ type: 'died', rank: seat.rank, reason });
    if (this.#options.reportsDeaths) seat.told = this.#planner.reportDead(seat.rank, reason);
  }

  #hear(seat: Seat, message: FromRank): void {
    const { rank } = seat;
    if (message.type === 'holds') {
      this.#held.push(message);
      this.#ledger.holds(message.weights);
      for (const where of message.weights.wrong) this.#emit({ type: 'wrong', rank, where });
    } else if (message.type === 'refused') {
      this.#ledger.refused();
      this.#emit({ type: 'refused', rank, epoch: message.epoch, reason: message.reason });
    } else if (message.type === 'service') {
      const wasThere = this.#seats.every(({ isServiceThere }) => isServiceThere);
      seat.isServiceThere = message.isThere;
      const isThere = this.#seats.every((other) => other.isServiceThere);
      if (isThere !== wasThere) this.#emit({ type: 'service', isThere, reason: message.reason });
    }
  }

  async #steps(): Promise<void> {
    const { signal, stepsPerSecond, numSteps = Number.POSITIVE_INFINITY } = this.#options;
    let dueMs = performance.now();
    while (!signal.aborted && this.#numServed < numSteps) {
      await this.#bringBack();
      const isServed = await this.#oneStep();
      this.#step++;
      if (!isServed) {
        await sleep(IDLE_MS, signal);
        continue;
      }
      dueMs = Math.max(performance.now(), dueMs + 1000 / stepsPerSecond);
      await sleep(dueMs - performance.now(), signal);
    }
  }

  async #bringBack(): Promise<void> {
    const { backAfter } = this.#options;
    for (const seat of this.#seats) {
      if (backAfter === 0 || seat.diedAtStep === undefined) continue;
      if (this.#numServed - seat.diedAtStep < backAfter) continue;
      await seat.told;
      this.restart(seat.rank);
    }
  }

  /** @returns whether tokens were served: before all ranks have come up, steps are empty */
  async #oneStep(): Promise<boolean> {
    const asked = this.#seats.filter(({ handle }) => handle?.isReady);
    const answers = await this.#untilEnd(
      Promise.all(asked.map(async ({ rank, handle }) => ({ rank, answer: await handle!.begin(this.#step) }))),
    );
    if (answers === undefined) return false;
    const serving = answers.flatMap(({ rank, answer }) =>
      answer?.status === 'serve' ? { rank, epoch: answer.epoch } : [],
    );
    if (serving.length === 0) {
      this.#skipTo(answers.map(({ answer }) => answer));
      return false;
    }
    this.#checkEpochs([...new Set(serving.map(({ epoch }) => epoch))]);
    if (!this.#isStarted) {
      if (serving.length < this.#seats.length) return false;
      this.#isStarted = true;
      this.#emit({ type: 'started', ranks: serving.length, epoch: this.#epoch });
    }
    this.#tellHeld(serving.length);
    for (const { rank, step } of this.#kills) if (step <= this.#numServed) this.kill(rank);
    this.#kills = this.#kills.filter(({ step }) => step > this.#numServed);
    await this.#serve(serving.map(({ rank }) => rank));
    const { planEvery } = this.#options;
    if (this.#numServed % planEvery === 0) void this.#planner.plan(`${this.#lastIncarnation}-${this.#step}`);
    return true;
  }

  /** A group of which no rank serves, as all were started anew, skips to the step that they wait for. */
  #skipTo(answers: readonly (StepAnswer | undefined)[]): void {
    for (const answer of answers) {
      if (answer?.status !== 'wait' || answer.fromStep === undefined) continue;
      this.#step = Math.max(this.#step, answer.fromStep - 1);
    }
  }

  #checkEpochs(epochs: readonly number[]): void {
    if (epochs.length > 1) {
      this.#ledger.split();
      this.#emit({ type: 'split', epochs });
    }
    this.#epoch = Math.max(...epochs);
  }

  /** Tells of the weights that ranks have brought into their slots since the last step. */
  #tellHeld(numServing: number): void {
    const all = this.#held.map(({ weights }) => weights);
    if (all.length === 0) return;
    const swapped = this.#held.filter(({ isRestored }) => !isRestored).map(({ weights }) => weights);
    this.#held = [];
    const sum = (of: (weights: HeldWeights) => number, list = all) =>
      list.reduce((total, weights) => total + of(weights), 0);
    const epoch = Math.max(...all.map((weights) => weights.epoch));
    if (swapped.length > 0) {
      this.#ledger.activated();
      const received = sum(({ numReceived }) => numReceived, swapped);
      this.#emit({
        ...{ type: 'activated', epoch, ranks: numServing, received },
        copied: sum(({ numCopied }) => numCopied, swapped),
        loaded: sum(({ numLoaded }) => numLoaded, swapped),
        bytesReceived: received * this.#options.expertBytes,
      });
    }
    const wrong = sum((weights) => weights.wrong.length);
    this.#emit({ type: 'verified', epoch, slots: sum(({ numSlots }) => numSlots), wrong });
  }

  async #serve(serving: readonly number[]): Promise<void> {
    const { value: loads } = (await this.#options.loads.next()) as { value: Float32Array };
    const served = serving.map((rank) => {
      const { handle } = this.#seats[rank]!;
      return handle === undefined ? 0 : handle.serve(this.#step, loads, serving);
    });
    const tokens = await this.#untilEnd(Promise.all(served));
    if (tokens === undefined) return;
    this.#numServed++;
    const shifted = this.#shift.take(loads);
    if (shifted !== undefined) {
      const { share, numSteps } = shifted;
      this.#emit({ type: 'shifted', share, sinceStep: this.#numServed - numSteps });
    }
    // Who died in it has not come back by it.
    const alive = serving.filter((rank) => this.#seats[rank]!.handle?.isReady);
    const wanted = loads.reduce((sum, load) => sum + load, 0);
    const { repaired, returned } = this.#ledger.served(
      { tokens: tokens.reduce((sum, own) => sum + own, 0), wanted, epoch: this.#epoch, serving: alive },
      performance.now(),
    );
    for (const { rank, tokensLost, stepsWithLoss, secondsToRepair } of repaired) {
      this.#emit({ type: 'repaired', rank, tokensLost, stepsWithLoss, seconds: secondsToRepair! });
    }
    for (const { rank, secondsToReturn } of returned) {
      this.#emit({ type: 'returned', rank, seconds: secondsToReturn! });
    }
  }

  /** Waits for ranks; undefined when the engine is ended meanwhile. */
  #untilEnd<T>(work: Promise<T>): Promise<T | undefined> {
    const { signal } = this.#options;
    return new Promise((resolve, reject) => {
      const end = () => resolve(undefined);
      if (signal.aborted) return end();
      signal.addEventListener('abort', end, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end));
    });
  }
}

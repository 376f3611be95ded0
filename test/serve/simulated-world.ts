import { seededRandom } from '../helpers/arbitraries.ts';

/** Lets everything end that waits for nothing but this thread. */
export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The one source of chance and the clock of a simulation. */
export class SimulatedWorld {
  readonly random: () => number;
  nowMs = 0;
  /** Nothing fails by chance any more. */
  isCalm = false;
  #timers: { atMs: number; work: () => void }[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  below(end: number): number {
    return Math.floor(this.random() * end);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  fault(probability: number): boolean {
    return !this.isCalm && this.chance(probability);
  }

  async passTime(ms: number): Promise<void> {
    this.nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.nowMs);
    for (const { work } of due) work();
    await turn();
  }

  /** Does some work later. @returns what takes it back */
  after(ms: number, work: () => void): () => void {
    const timer = { atMs: this.nowMs + ms, work };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }

  dropTimers(): void {
    this.#timers = [];
  }
}

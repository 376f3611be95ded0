import type { DeathFigures, GainFigures, Summary } from './events.ts';
import type { HeldWeights } from './messages.ts';

/** A death, as long as it is known. */
interface Death {
  readonly rank: number;
  readonly step: number;
  readonly atMs: number;
  /** The epoch that was served then. */
  readonly epoch: number;
  tokensLost: number;
  stepsWithLoss: number;
  repairedMs: number | undefined;
  returnedMs: number | undefined;
}

/** What a step brought about. */
export interface StepNews {
  /** Deaths that are made up for by now. */
  readonly repaired: readonly DeathFigures[];
  /** Ranks that serve again. */
  readonly returned: readonly DeathFigures[];
}

/** Tokens are shares of copies: their sums are off by less. */
const ROUNDING = 1e-6;

/** Counts what happens to the engine, and what deaths cost. Times are given. */
export class Ledger {
  readonly #expertBytes: number;
  readonly #deaths: Death[] = [];
  readonly #moves = { received: 0, copied: 0, loaded: 0 };
  #numSteps = 0;
  #numEpochs = 0;
  #numAborted = 0;
  #numRefused = 0;
  #tokensLost = 0;
  #slotsVerified = 0;
  #slotsWrong = 0;
  #stepsSplit = 0;

  constructor(expertBytes: number) {
    this.#expertBytes = expertBytes;
  }

  activated(): void {
    this.#numEpochs++;
  }

  aborted(): void {
    this.#numAborted++;
  }

  refused(): void {
    this.#numRefused++;
  }

  split(): void {
    this.#stepsSplit++;
  }

  holds({ numReceived, numCopied, numLoaded, numSlots, wrong }: HeldWeights): void {
    this.#moves.received += numReceived;
    this.#moves.copied += numCopied;
    this.#moves.loaded += numLoaded;
    this.#slotsVerified += numSlots;
    this.#slotsWrong += wrong.length;
  }

  died(rank: number, step: number, epoch: number, nowMs: number): void {
    this.#deaths.push({
      ...{ rank, step, epoch, atMs: nowMs, tokensLost: 0, stepsWithLoss: 0 },
      ...{ repairedMs: undefined, returnedMs: undefined },
    });
  }

  /** A step was served. */
  served(
    {
      tokens,
      wanted,
      epoch,
      serving,
    }: {
      readonly tokens: number;
      readonly wanted: number;
      readonly epoch: number;
      readonly serving: readonly number[];
    },
    nowMs: number,
  ): StepNews {
    this.#numSteps++;
    const lost = Math.max(0, wanted - tokens);
    const isWhole = lost <= ROUNDING * wanted;
    const open = this.#deaths.find(({ repairedMs }) => repairedMs === undefined);
    if (!isWhole) {
      this.#tokensLost += lost;
      if (open !== undefined) {
        open.tokensLost += lost;
        open.stepsWithLoss++;
      }
    }
    const repaired = this.#deaths.filter(
      (death) => death.repairedMs === undefined && isWhole && epoch > death.epoch,
    );
    for (const death of repaired) death.repairedMs = nowMs;
    const returned = this.#deaths.filter(
      ({ rank, returnedMs }) => returnedMs === undefined && serving.includes(rank),
    );
    for (const death of returned) death.returnedMs = nowMs;
    return { repaired: repaired.map(figuresOf), returned: returned.map(figuresOf) };
  }

  summary(gains: readonly GainFigures[]): Summary {
    return {
      steps: this.#numSteps,
      epochs: this.#numEpochs,
      aborted: this.#numAborted,
      refused: this.#numRefused,
      moves: { ...this.#moves },
      bytesReceived: this.#moves.received * this.#expertBytes,
      gains,
      deaths: this.#deaths.map(figuresOf),
      tokensLost: Math.round(this.#tokensLost),
      slotsVerified: this.#slotsVerified,
      slotsWrong: this.#slotsWrong,
      stepsSplit: this.#stepsSplit,
    };
  }
}

function figuresOf({ rank, step, atMs, ...death }: Death): DeathFigures {
  const since = (ms: number | undefined) => (ms === undefined ? null : (ms - atMs) / 1000);
  return {
    ...{ rank, step, tokensLost: Math.round(death.tokensLost), stepsWithLoss: death.stepsWithLoss },
    secondsToRepair: since(death.repairedMs),
    secondsToReturn: since(death.returnedMs),
  };
}

import type { Topology } from '../index.ts';
import { type Move, PlanMovesTally } from './plan-moves.ts';
import type { PlanResult, TriggerReason } from './result.ts';
import type { LayerTransfers } from './transfers.ts';

/** What is known of a plan when it has been made. */
interface PlanStart {
  readonly startedAfterStep: number;
  readonly reasons: readonly TriggerReason[];
  readonly numSamples: number;
  readonly planningSeconds: number;
  readonly keptReason?: string;
  readonly layerOrder: readonly number[];
  /** Units a step on the window's mean loads: of the mapping it replaces less its own. */
  readonly predictedGain: number;
  readonly balancednessBefore: number;
  readonly balancednessAfter: number;
  /** Whether it changes no slot. */
  readonly isUnchanged: boolean;
  readonly topology: Topology;
}

/** A plan as it is made, takes effect and proves itself. */
export class PlanEntry {
  readonly #start: PlanStart;
  readonly #movesTally: PlanMovesTally;
  #appliedFromStep: number | null = null;
  #appliedToStep: number | null = null;
  #layersLeft: number;
  #moves = 0;
  #changedSlots = 0;
  #bytes = 0;
  #moveSeconds = 0;
  #realisedGain = 0;
  #realisedSteps = 0;
  #periodSteps = 0;
  #periodUnits = 0;
  #periodUnbalancedUnits = 0;

  constructor(start: PlanStart) {
    this.#start = start;
    this.#movesTally = new PlanMovesTally(start.topology);
    this.#layersLeft = start.isUnchanged ? 0 : start.layerOrder.length;
  }

  /** A layer changed before this step. */
  layerChanged(step: number, transfers: LayerTransfers, moves: readonly Move[]): void {
    this.#movesTally.add(moves);
    this.#appliedFromStep ??= step;
    this.#appliedToStep = step;
    this.#layersLeft--;
    this.#moves += transfers.moves;
    this.#changedSlots += transfers.changedSlots;
    this.#bytes += transfers.bytes;
    this.#moveSeconds += transfers.seconds;
  }

  /** A step passed under the whole plan. @param gain units that the mapping before would have taken more */
  proved(gain: number): void {
    this.#realisedGain += gain;
    this.#realisedSteps++;
  }

  /** A step passed after it was started, before the next plan is. */
  stepPassed(units: number, unbalancedUnits: number): void {
    this.#periodSteps++;
    this.#periodUnits += units;
    this.#periodUnbalancedUnits += unbalancedUnits;
  }

  result(secondsPerUnit: number): PlanResult {
    const { isUnchanged, predictedGain, balancednessBefore, balancednessAfter, topology, ...start } =
      this.#start;
    return {
      ...start,
      status: isUnchanged ? 'unchanged' : this.#layersLeft === 0 ? 'applied' : 'unfinished',
      appliedFromStep: this.#appliedFromStep,
      appliedToStep: this.#appliedToStep,
      moves: this.#moves,
      moved: this.#movesTally.result(),
      changedSlots: this.#changedSlots,
      bytes: this.#bytes,
      moveSeconds: this.#moveSeconds,
      predictedGainSecondsPerStep: predictedGain * secondsPerUnit,
      realisedGainSecondsPerStep:
        this.#realisedSteps === 0 ? null : (this.#realisedGain / this.#realisedSteps) * secondsPerUnit,
      realisedOverSteps: this.#realisedSteps,
      period: {
        numSteps: this.#periodSteps,
        stepSeconds: this.#periodUnits * secondsPerUnit,
        unbalancedSeconds: this.#periodUnbalancedUnits * secondsPerUnit,
      },
      predictedBalancednessBefore: balancednessBefore,
      predictedBalancednessAfter: balancednessAfter,
    };
  }
}

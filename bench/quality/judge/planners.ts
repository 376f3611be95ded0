import {
  type AbstractEplbPolicy,
  AdaptiveEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  type ExpertMapping,
} from 'expert-load-balancer';
import { FlashLb } from '../../peers/flashlb.ts';
import { sumOf } from '../protocol.ts';
import type { Row } from '../recordings.ts';

/** What a plan came to. */
interface Planned {
  readonly mapping: ExpertMapping;
  /**
   * What the load of the slowest rank is foreseen to fall by in the mean step, as a share of the mean rank
   * load, summed over the layers; 0 where the policy foresees nothing.
   */
  readonly foreseenGain: number;
}

/** Sees each step once, and plans every now and then. */
interface Planner {
  record(step: Float32Array): void;
  /** @param next the steps until the next plan: for the planner that knows them */
  plan(live: ExpertMapping, next: readonly Float32Array[]): Promise<Planned>;
  close(): Promise<void>;
}

/** Makes a planner for one run: planners remember. */
export type PlannerMaker = (row: Row) => Planner;

export const ADAPTIVE = 'adaptive';
export const FREE = 'adaptive, price 0';
export const DEFAULT = 'default';
export const FLASHLB = 'FlashLB v2';
export const ORACLE = 'default that knows the next steps';
/** FlashLB, given as many steps as the adaptive policy remembers. */
const REMEMBERED_STEPS = 64;

/** The planners that are judged, by name. */
export const PLANNERS: Readonly<Record<string, PlannerMaker>> = {
  [ADAPTIVE]: balancerWith(() => new AdaptiveEplbPolicy()),
  [FREE]: balancerWith(() => new AdaptiveEplbPolicy({ price: 0 })),
  'adaptive, price 5e-5': balancerWith(() => new AdaptiveEplbPolicy({ price: 5e-5 })),
  [DEFAULT]: balancerWith(() => new DefaultEplbPolicy()),
  [FLASHLB]: (row) => flashLb(row, row.window),
  [ORACLE]: oracle,
  never: () => stateless((live) => live),
};

/** More of them, which take longer. */
export const FURTHER_PLANNERS: typeof PLANNERS = {
  'adaptive, effort quick': balancerWith(() => new AdaptiveEplbPolicy({ effort: 'quick' })),
  'adaptive, effort thorough': balancerWith(() => new AdaptiveEplbPolicy({ effort: 'thorough' })),
  'FlashLB v2, 64 steps': (row) => flashLb(row, Math.max(row.window, REMEMBERED_STEPS)),
};

/** The adaptive policy as it is made, but for a limit on the moves of each plan. */
export function adaptiveWithin(maxMoves: number): PlannerMaker {
  return balancerWith(() => new AdaptiveEplbPolicy({ maxMoves }));
}

/** A policy in a balancer, as an engine would have it. */
function balancerWith(makePolicy: () => AbstractEplbPolicy): PlannerMaker {
  return ({ steps: { numLayers, numExperts }, numSlots, numRanks, window }) => {
    const balancer = new ExpertLoadBalancer({
      numLayers,
      numLogicalExperts: numExperts,
      numPhysicalExperts: numSlots,
      numRanks,
      windowSize: window,
      policy: makePolicy(),
      threads: 0,
    });
    return {
      record(step) {
        for (let layer = 0; layer < numLayers; layer++) {
          const loads = step.subarray(layer * numExperts, (layer + 1) * numExperts);
          balancer.recordLogicalLoad(layer, loads);
        }
        balancer.advanceWindow();
      },
      async plan() {
        const decision = await balancer.decide();
        if (decision.status === 'kept') return { mapping: decision.mapping, foreseenGain: 0 };
        const { mapping, forecast, generation } = decision;
        balancer.commit(mapping, { from: generation });
        const foreseenGain = forecast?.gainPerLayer.reduce((sum, gain) => sum + gain, 0) ?? 0;
        return { mapping, foreseenGain };
      },
      close: () => balancer.close(),
    };
  };
}

function flashLb({ numRanks }: Row, numSteps: number): Planner {
  const peer = new FlashLb();
  const steps: Float32Array[] = [];
  return {
    ...stateless((live) => peer.plan(steps, live, numRanks)),
    record(step) {
      steps.push(step);
      if (steps.length > numSteps) steps.shift();
    },
  };
}

function oracle(row: Row): Planner {
  return stateless((_, next) =>
    new DefaultEplbPolicy().rebalanceExperts(sumOf(next, row), row.numSlots, 1, 1, row.numRanks),
  );
}

function stateless(plan: (live: ExpertMapping, next: readonly Float32Array[]) => ExpertMapping): Planner {
  return {
    record() {},
    plan: async (live, next) => ({ mapping: plan(live, next), foreseenGain: 0 }),
    close: async () => {},
  };
}

import type { CostModel } from '../../src/replay/configuration.ts';
import {
  type BalanceFigures,
  MAX_PLAN_MOVES,
  MAX_RANK_LOADS,
  MAX_SERIES_POINTS,
  type Percentiles,
  type PlanMoves,
  type PlanResult,
  type ReplayReport,
  type ReplayResult,
  type SpreadColumn,
} from '../../src/replay/result.ts';
import type { SweepPoint, SweepResult } from '../../src/replay/sweep-result.ts';
import { seededRandom } from './arbitraries.ts';

/** How large a report to make. */
interface ExampleSizes {
  readonly numSteps?: number;
  readonly numLayers?: number;
  readonly numRanks?: number;
  readonly policies?: readonly string[];
  readonly withSweep?: boolean;
  readonly isPartial?: boolean;
}

const COST: CostModel = {
  name: 'deepseek-v3',
  time: { kind: 'load', secondsPerLoad: 2.2e-7 },
  bytesPerExpert: 44_050_944,
  intraNodeBytesPerSecond: 450e9,
  interNodeBytesPerSecond: 50e9,
  concurrentTransfers: 'rank',
  countedMoves: 'rank',
  stepSeconds: 'modelled',
  zeroLoadsCountAsOne: false,
};

/**
 * A report of the shape that replays give, with invented numbers that hang together: bursts that stand out,
 * plans that help, a policy that never plans. The same sizes give the same report.
 */
export function exampleReport(sizes: ExampleSizes = {}): ReplayReport {
  const {
    numSteps = 600,
    numLayers = 6,
    numRanks = 8,
    policies = ['static', 'default', 'adaptive'],
    withSweep = false,
    isPartial = false,
  } = sizes;
  return {
    kind: 'replay-report',
    formatVersion: 2,
    versions: { package: '0.1.0', node: 'v20.20.2', platform: 'linux x64' },
    recording: {
      path: 'recordings/example <b>&"quoted"</b>.npy',
      format: 'npy',
      numLayers,
      numLogicalExperts: 8 * numRanks,
      steps: { from: 0, to: numSteps },
      notes: ['Read as routes; 128 tokens make a step.'],
      tokensPerStep: 128,
    },
    replays: policies.map((policy, i) =>
      exampleReplay(policy, i, { numSteps, numLayers, numRanks, isPartial }),
    ),
    ...(withSweep ? { sweep: exampleSweep(policies.filter((policy) => policy !== 'static')) } : {}),
  };
}

type Sizes = Required<Pick<ExampleSizes, 'numSteps' | 'numLayers' | 'numRanks' | 'isPartial'>>;

function exampleReplay(policy: string, index: number, sizes: Sizes): ReplayResult {
  const { numSteps, numLayers, numRanks, isPartial } = sizes;
  const random = seededRandom(1000 + index);
  const isStatic = policy === 'static';
  const interval = Math.max(1, Math.floor(numSteps / 10));
  const gain = isStatic ? 0 : 0.2 + 0.05 * index;
  const unbalancedOf = (step: number) => 0.55 + 0.05 * Math.sin(step / 40);
  const stepsPerPoint = 2 ** Math.max(0, Math.ceil(Math.log2(numSteps / MAX_SERIES_POINTS)));
  const numPoints = Math.ceil(numSteps / stepsPerPoint);
  const points = Array.from({ length: numPoints }, (_, point) => point * stepsPerPoint);
  // One step that stands out: it must be seen however many steps there are.
  const burst = Math.floor(numSteps / 3);
  const isBurst = (step: number) => step <= burst && burst < step + stepsPerPoint;
  const noise = () => 0.02 * (random() - 0.5);
  const spread = (value: (step: number) => number, low: number, high: number): SpreadColumn => {
    const mean = points.map((step) => value(step) + noise() * value(step));
    return {
      mean,
      min: mean.map((x, i) => (isBurst(points[i]!) ? x * low * 0.5 : x * low)),
      max: mean.map((x, i) => (isBurst(points[i]!) ? x * high * 1.6 : x * high)),
    };
  };
  const live = (step: number) => Math.min(0.98, unbalancedOf(step) + (step < interval ? 0 : gain));
  const plans = isStatic ? [] : examplePlans(sizes, interval, random);
  const movesOf = (step: number) =>
    plans.reduce((sum, plan) => {
      const at = plan.appliedFromStep;
      return at !== null && at >= step && at < step + stepsPerPoint ? sum + plan.moves : sum;
    }, 0);
  const balance = exampleFigures(0.56 + gain);
  const stepSeconds = (numSteps * 0.03) / balance.balancednessRatioOfSums;
  const moveSeconds = plans.reduce((sum, plan) => sum + plan.moveSeconds, 0);
  const planningSeconds = plans.reduce((sum, plan) => sum + plan.planningSeconds, 0);
  const unbalancedSeconds = (numSteps * 0.03) / 0.56;
  const moves = plans.reduce((sum, plan) => sum + plan.moves, 0);
  const heat = (spreadOf: number) =>
    Array.from({ length: numLayers }, () => {
      const row = Array.from({ length: numRanks }, () => 1 + spreadOf * (random() ** 3 - 0.2));
      const mean = row.reduce((sum, x) => sum + x, 0) / numRanks;
      return row.map((x) => x / mean);
    });
  return {
    name: policy,
    status: isPartial ? 'partial' : 'complete',
    configuration: {
      policy,
      numPhysicalExperts: 9 * numRanks,
      numRanks,
      numNodes: 2,
      numGroups: 1,
      windowSize: 100,
      trigger: { interval },
      planningSeconds: 'measured',
      layersPerStep: 1,
      cost: COST,
    },
    numSteps,
    balance,
    unbalanced: exampleFigures(0.56),
    totals: {
      moves,
      changedSlots: Math.round(moves * 1.1),
      bytes: moves * COST.bytesPerExpert,
      bytesBetweenNodes: Math.floor(moves / 3) * COST.bytesPerExpert,
      numPlans: plans.length,
      numAppliedPlans: plans.filter((plan) => plan.status === 'applied').length,
      planningSeconds,
      stepSeconds,
      moveSeconds,
      modelledSeconds: stepSeconds + moveSeconds + planningSeconds,
      unbalancedSeconds,
      secondsSaved: unbalancedSeconds - stepSeconds - moveSeconds - planningSeconds,
      idealSeconds: numSteps * 0.03,
      redundantBytesPerRank: numLayers * COST.bytesPerExpert,
    },
    layers: Array.from({ length: numLayers }, (_, layer) => {
      const own = Math.min(0.99, 0.56 + gain + 0.05 * (random() - 0.5));
      return {
        layer,
        balancednessRatioOfSums: own,
        balancednessMeanOfRatios: own + 0.01,
        peakToAverageRatioOfSums: 1 / own,
        peakToAverageMeanOfRatios: 1.01 / own,
        peakToAverageMax: 1.7 / own,
        unbalancedBalancednessRatioOfSums: 0.56,
        moves: Math.round(moves / numLayers),
        changedSlots: Math.round((moves * 1.1) / numLayers),
        bytes: Math.round(moves / numLayers) * COST.bytesPerExpert,
        stepSeconds: stepSeconds / numLayers,
        moveSeconds: moveSeconds / numLayers,
      };
    }),
    series: {
      stepsPerPoint,
      firstStep: points,
      balancedness: spread(live, 0.95, 1.01),
      unbalancedBalancedness: spread(unbalancedOf, 0.95, 1.03),
      worstLayerPeakToAverage: points.map((step) => (isBurst(step) ? 6 : 1.4 / live(step))),
      stepSeconds: spread((step) => 0.03 / live(step), 0.97, 1.04),
      unbalancedStepSeconds: spread((step) => 0.03 / unbalancedOf(step), 0.97, 1.04),
      moves: points.map(movesOf),
      bytes: points.map((step) => movesOf(step) * COST.bytesPerExpert),
      moveSeconds: points.map((step) => movesOf(step) * 0.0005),
    },
    plans,
    heatMap: {
      fromStep: isStatic ? 0 : Math.min(interval + numLayers, numSteps - 1),
      toStep: numSteps,
      before: heat(2),
      after: heat(isStatic ? 2 : 0.5),
      p95Before: heat(3),
      p95After: heat(isStatic ? 3 : 1),
      maximumBefore: Array.from({ length: numLayers }, () => 1.7 + 0.3 * random()),
      maximumAfter: Array.from({ length: numLayers }, () => (isStatic ? 1.7 : 1.1) + 0.3 * random()),
    },
    hotExperts: Array.from({ length: 20 }, (_, i) => ({
      layer: i % numLayers,
      expert: 3 * i,
      timesMean: 6 - i / 5,
      ranks: isStatic ? [i % numRanks] : [i % numRanks, (i + 1) % numRanks],
    })),
    rankLoads: exampleRankLoads(sizes, burst, random),
  };
}

function examplePlans(
  { numSteps, numLayers, numRanks }: Sizes,
  interval: number,
  random: () => number,
): PlanResult[] {
  const numPlans = Math.floor(numSteps / interval);
  return Array.from({ length: numPlans }, (_, i) => {
    const startedAfterStep = (i + 1) * interval - 1;
    const isUnchanged = i === 2;
    const isLast = i === numPlans - 1;
    const moves = isUnchanged ? 0 : Math.round(numLayers * (4 + 10 * random()));
    const predicted = isUnchanged ? 0 : 0.004 + 0.004 * random();
    return {
      startedAfterStep,
      reasons: [{ kind: 'interval', value: interval, limit: interval }],
      numSamples: Math.min(100, startedAfterStep + 1),
      planningSeconds: 0.002 + 0.001 * random(),
      status: isUnchanged ? 'unchanged' : isLast ? 'unfinished' : 'applied',
      appliedFromStep: isUnchanged ? null : Math.min(startedAfterStep + 2, numSteps - 1),
      appliedToStep: isUnchanged ? null : Math.min(startedAfterStep + 1 + numLayers, numSteps - 1),
      layerOrder: Array.from({ length: numLayers }, (_, layer) => layer),
      moves,
      moved: exampleMoves(moves, numLayers, numRanks, random),
      changedSlots: Math.round(moves * 1.1),
      bytes: moves * COST.bytesPerExpert,
      moveSeconds: moves * 0.0005,
      predictedGainSecondsPerStep: predicted,
      // The last one took effect too late to have given anything, one did harm.
      realisedGainSecondsPerStep: isUnchanged || isLast ? null : i === 4 ? -0.001 : predicted * 0.7,
      realisedOverSteps: isUnchanged || isLast ? 0 : interval - numLayers,
      predictedBalancednessBefore: 0.57,
      period: { numSteps: interval, stepSeconds: 0.04 * interval, unbalancedSeconds: 0.05 * interval },
      predictedBalancednessAfter: isUnchanged ? 0.57 : 0.92,
    };
  });
}

/** Between the ranks of two nodes, the most load first. */
function exampleMoves(moves: number, numLayers: number, numRanks: number, random: () => number): PlanMoves {
  const nodeMoves = [
    [0, 0],
    [0, 0],
  ];
  const pairs = Array.from({ length: moves }, () => {
    const from = Math.floor(random() * numRanks);
    const to = (from + 1 + Math.floor(random() * (numRanks - 1))) % numRanks;
    nodeMoves[Math.floor((2 * from) / numRanks)]![Math.floor((2 * to) / numRanks)]!++;
    return { from, to };
  });
  const listed = pairs.slice(0, MAX_PLAN_MOVES);
  return {
    nodeMoves,
    layers: listed.map((_, i) => i % numLayers),
    experts: listed.map((_, i) => (7 * i) % (8 * numRanks)),
    fromRanks: listed.map(({ from }) => from),
    toRanks: listed.map(({ to }) => to),
    loads: listed.map((_, i) => 500 - i),
  };
}

function exampleRankLoads(sizes: Sizes, slowestStep: number, random: () => number) {
  const { numSteps, numLayers, numRanks } = sizes;
  const most = Math.max(2, Math.floor(MAX_RANK_LOADS / (numLayers * numRanks)));
  let stride = 1;
  while (Math.ceil(numSteps / stride) > most) stride *= 2;
  const steps = new Set([slowestStep]);
  for (let step = 0; step < numSteps; step += stride) steps.add(step);
  const sorted = [...steps].sort((a, b) => a - b);
  const loads = sorted.map(() =>
    Array.from({ length: numLayers }, () =>
      Array.from({ length: numRanks }, () => Math.round(100 + 400 * random() ** 4)),
    ),
  );
  return { stride, steps: sorted, slowestStep, loads };
}

function exampleFigures(balancedness: number): BalanceFigures {
  const percentiles = (middle: number): Percentiles => ({
    min: middle * 0.8,
    p5: middle * 0.9,
    p50: middle,
    p95: middle * 1.05,
    p99: middle * 1.08,
    max: middle * 1.1,
  });
  return {
    balancednessRatioOfSums: balancedness,
    balancednessMeanOfRatios: balancedness + 0.01,
    peakToAverageRatioOfSums: 1 / balancedness,
    peakToAverageMeanOfRatios: 1.02 / balancedness,
    worstLayer: {
      layer: 3,
      balancednessRatioOfSums: balancedness * 0.9,
      peakToAverageRatioOfSums: 1 / (balancedness * 0.9),
    },
    balancednessPercentiles: percentiles(balancedness),
    peakToAveragePercentiles: percentiles(1 / balancedness),
  };
}

function exampleSweep(policies: readonly string[]): SweepResult {
  const axes = { policies, replicas: [64, 72, 80], ranks: [8, 16], intervals: [64, 256, 1024] };
  const points: SweepPoint[] = [];
  for (const numPhysicalExperts of axes.replicas) {
    for (const numRanks of axes.ranks) {
      for (const interval of axes.intervals) {
        for (const [i, policy] of policies.entries()) {
          const key = {
            name: `${policy}, ${numPhysicalExperts} slots, ${numRanks} ranks, every ${interval} steps`,
            policy,
            numPhysicalExperts,
            numRanks,
            interval,
          };
          if (numPhysicalExperts === 72 && numRanks === 16) {
            const message = '--replicas: 72 is not a multiple of --ranks 16';
            points.push({ ...key, status: 'failed', code: 'EPLB_TOPOLOGY', message });
            continue;
          }
          const redundancy = (numPhysicalExperts - 64) / 64;
          const moveSeconds = 200 / interval;
          const balancedness = 0.72 + 0.6 * redundancy + 0.03 * i;
          const modelledSeconds = 160 / numRanks / balancedness + moveSeconds;
          const redundantBytes = (numPhysicalExperts - 64) * 6 * COST.bytesPerExpert;
          points.push({
            ...key,
            status: 'done',
            modelledSeconds,
            unbalancedSeconds: 290 / numRanks,
            secondsSaved: 290 / numRanks - modelledSeconds,
            moveSeconds,
            planningSeconds: 3 / interval,
            balancednessRatioOfSums: balancedness,
            balancednessMeanOfRatios: balancedness + 0.01,
            peakToAverageMeanOfRatios: 1 / balancedness,
            numPlans: Math.floor(4096 / interval),
            moves: Math.floor(200_000 / interval),
            bytes: Math.floor(200_000 / interval) * COST.bytesPerExpert,
            redundantBytes,
            redundantBytesPerRank: redundantBytes / numRanks,
          });
        }
      }
    }
  }
  const done = points.flatMap((point) => (point.status === 'done' ? [point] : []));
  const frontOf = (among: typeof done) =>
    among
      .filter(
        (point) =>
          !among.some(
            (other) =>
              other.redundantBytes <= point.redundantBytes && other.modelledSeconds < point.modelledSeconds,
          ),
      )
      .map((point) => point.name);
  const front = frontOf(done);
  return {
    axes,
    points,
    front,
    frontsByRanks: axes.ranks.map((numRanks) => ({
      numRanks,
      names: frontOf(done.filter((point) => point.numRanks === numRanks)),
    })),
    advice: `Use ${front.at(-1)}: it saves 41 % of the modelled time of no balancing.`,
    advisedPoint: front.at(-1) ?? null,
    status: 'complete',
  };
}

// Replays made-up steps, and tells what each took beside planning, and the peak memory.
import { AdaptiveEplbPolicy, DefaultEplbPolicy } from 'expert-load-balancer';
import { replay, synthesize } from 'expert-load-balancer/replay';
import { peakMemoryKb } from './peak-memory.mjs';

const { numSteps, windowSize, interval, policy, cost, topology } = JSON.parse(process.argv[2]);
const { numLayers, numLogicalExperts } = topology;
/** Steps that come again and again, so that making them takes no time between. */
const different = [];
const shape = { numLayers, numExperts: numLogicalExperts, topK: 8, numSteps: 32, tokensPerStep: 4096 };
const made = synthesize({
  ...shape,
  seed: 1,
  skew: 1,
  burst: 0,
  burstGain: 8,
  drift: 0.1,
  domains: 1,
  blendSteps: 0,
});
for await (const { loads } of made.steps()) different.push(loads.slice());

const micros = [];
let numPlans = 0;
let lastPlans = 0;
const source = {
  numLayers,
  numLogicalExperts,
  async *steps() {
    for (let step = 0; step < numSteps; step++) {
      const loads = different[step % different.length];
      const started = performance.now();
      yield { step, loads, bytesRead: 0 };
      // A step that a plan was made after is left out: its time is the planner's.
      if (numPlans === lastPlans) micros.push((performance.now() - started) * 1000);
      lastPlans = numPlans;
    }
  },
};
/** Microseconds of the median step where the same steps are only added up, by the same kind of loop. */
async function bareLoop() {
  const sums = new Float64Array(numLayers * numLogicalExperts);
  const times = [];
  async function* steps() {
    for (let step = 0; step < numSteps; step++) {
      const started = performance.now();
      yield different[step % different.length];
      times.push((performance.now() - started) * 1000);
    }
  }
  for await (const loads of steps()) for (let i = 0; i < sums.length; i++) sums[i] += loads[i];
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)];
}

const result = await replay(source, {
  ...topology,
  windowSize,
  cost,
  policy:
    policy === 'static' ? policy : policy === 'adaptive' ? new AdaptiveEplbPolicy() : new DefaultEplbPolicy(),
  ...(policy === 'static' ? {} : { trigger: { interval }, planningSeconds: 0.01 }),
  onStep: (progress) => {
    numPlans = progress.numPlans;
  },
});
micros.sort((a, b) => a - b);
const bare = await bareLoop();
process.stdout.write(
  JSON.stringify({
    peakKb: peakMemoryKb(),
    median: micros[Math.floor(micros.length / 2)],
    p10: micros[Math.floor(micros.length / 10)],
    bare,
    p90: micros[Math.floor(micros.length * 0.9)],
    numSteps: result.numSteps,
    numPlans: result.plans.length,
    balancedness: result.balance.balancednessRatioOfSums,
    unbalanced: result.unbalanced.balancednessRatioOfSums,
  }),
);

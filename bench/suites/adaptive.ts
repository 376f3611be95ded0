import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import {
  AdaptiveEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadSamples,
  type Topology,
} from 'expert-load-balancer';
import { runChild } from '../child.ts';
import { drawSteps, recordSteps, type Steps } from '../drawn-steps.ts';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { measure, measureAsync } from '../measure.ts';
import { readSteps } from '../quality/recordings.ts';
import { summarize } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, RECORDED_SIZE, sizeName } from '../workloads.ts';

const NUM_SAMPLES = 16;
/** As many as a balancer remembers when its window is short. */
const MANY_SAMPLES = 64;
/** Steps from the window that the live placement was planned from to the one that is timed. */
const STEPS_BETWEEN = 8;

/** The adaptive policy without options: the first plan, and a next one that starts from it. */
export const adaptiveSuite: Suite = {
  name: 'adaptive',
  title: `Adaptive policy, ${NUM_SAMPLES} samples`,
  async run(context) {
    const recorded = { ...RECORDED_SIZE, numNodes: 1, numGroups: 1 };
    const main = { ...MAIN_SIZE, numNodes: 1, numGroups: 1 };
    return [
      ...(await timeInline(recorded, recordedSteps(), NUM_SAMPLES, context)),
      ...(await timeInline(
        main,
        drawSteps(main, context.seed, NUM_SAMPLES + STEPS_BETWEEN),
        NUM_SAMPLES,
        context,
      )),
      ...(await timeInline(
        main,
        drawSteps(main, context.seed, MANY_SAMPLES + STEPS_BETWEEN),
        MANY_SAMPLES,
        context,
      )),
      ...(await timePooled(main, drawSteps(main, context.seed, NUM_SAMPLES + STEPS_BETWEEN), context)),
      ...memoryOf(main, context),
    ];
  },
};

/** The steps of the recording that ships, of 128 tokens each. */
function recordedSteps(): Steps {
  const path = fileURLToPath(new URL('../../recordings/deepseek-v2-lite.law.routes.npy', import.meta.url));
  return readSteps(path, 64).loads.slice(0, NUM_SAMPLES + STEPS_BETWEEN);
}

function samplesOf(steps: Steps, { numLayers, numLogicalExperts: numExperts }: Topology): LoadSamples {
  const data = new Float32Array(steps.length * numLayers * numExperts);
  for (const [i, step] of steps.entries()) data.set(step, i * step.length);
  return { data, numSamples: steps.length, numLayers, numExperts };
}

function plan(topology: Topology, steps: Steps, previous: ExpertMapping): ExpertMapping {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const samples = samplesOf(steps, topology);
  const policy = new AdaptiveEplbPolicy();
  return policy.planExperts(samples, numPhysicalExperts, numGroups, numNodes, numRanks, { previous }).mapping;
}

function initialMapping(topology: Topology): ExpertMapping {
  return new ExpertLoadBalancer({ ...topology, threads: 0, windowSize: 1 }).mapping;
}

async function timeInline(
  topology: Topology,
  steps: Steps,
  numSamples: number,
  { limits }: SuiteContext,
): Promise<Figure[]> {
  const initial = initialMapping(topology);
  const first = plan(topology, steps.slice(0, numSamples), initial);
  const suffix = numSamples === NUM_SAMPLES ? '' : `, ${numSamples} samples`;
  const cases = [
    [`first plan${suffix}`, steps.slice(0, numSamples), initial],
    [`next plan${suffix}`, steps.slice(STEPS_BETWEEN), first],
  ] as const;
  const figures: Figure[] = [];
  for (const [name, window, previous] of cases) {
    const expected = plan(topology, window, previous);
    const stats = await measure(
      limits,
      () => plan(topology, window, previous),
      (mapping) => assert.ok(mapping.equals(expected)),
    );
    const moves = expected.movesFrom(previous, topology.numRanks) / topology.numLayers;
    figures.push(
      sampled(`adaptive/${sizeName(topology)}/inline, ${name}`, 'ms', stats, [
        beside('moves a layer', moves, 'x'),
      ]),
    );
  }
  return figures;
}

/** From the window's steps, in the pool: the next plan, again and again. */
async function timePooled(
  topology: Topology,
  steps: Steps,
  { limits, pick }: SuiteContext,
): Promise<Figure[]> {
  const first = plan(topology, steps.slice(0, NUM_SAMPLES), initialMapping(topology));
  const longer = { ...limits, time: pick(6, 1) * limits.time };
  const times: number[] = [];
  const figures: Figure[] = [];
  for (const threads of [1, 2]) {
    await using balancer = new ExpertLoadBalancer({
      ...topology,
      threads,
      windowSize: NUM_SAMPLES,
      // The window alone, as the plans in this thread: a balancer would remember all steps.
      policy: new AdaptiveEplbPolicy({ rememberedSteps: 0 }),
    });
    recordSteps(balancer, steps);
    // Of a mapping from elsewhere nothing is remembered, so that it is planned anew each time.
    balancer.commit(ExpertMapping.fromBytes(first.toBytes()));
    const expected = plan(topology, steps.slice(STEPS_BETWEEN), first);
    const stats = await measureAsync(
      longer,
      () => balancer.plan(),
      (mapping) => assert.ok(mapping.equals(expected)),
    );
    times.push(stats.median);
    const name = threads === 1 ? '1 thread' : '2 threads';
    figures.push(sampled(`adaptive/${sizeName(topology)}/${name}`, 'ms', stats));
  }
  const id = `adaptive/${sizeName(topology)}/2 threads over 1`;
  return [...figures, derived(id, 'x', times[0]! / times[1]!)];
}

/** The peak of a process that fills a window and plans, with this policy and with the default one. */
function memoryOf(topology: Topology, { pick }: SuiteContext): Figure[] {
  const runs = pick(3, 1);
  const peaks = (script: string, job: unknown) =>
    Array.from({ length: runs }, () => (runChild<{ peakKb: number }>(script, job).peakKb * 1024) / 1e6);
  const bare = summarize(peaks('bare-memory.mjs', null)).median;
  const [byDefault, adaptive] = ['default', 'adaptive'].map((policy) =>
    summarize(peaks('adaptive-memory.mjs', { topology, windowSize: 100, policy }).map((mb) => mb - bare)),
  );
  const id = `adaptive/${sizeName(topology)}/memory, window 100, planned in a pool of one`;
  return [sampled(id, 'MB', adaptive!, [beside('default policy', byDefault!.median, 'MB')])];
}

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AbstractEplbPolicy,
  DefaultEplbPolicy,
  ExpertMapping,
  type LoadsInput,
  type PolicyContext,
} from 'expert-load-balancer';
import { type ReplayOptions, type ReplaySource, replay } from 'expert-load-balancer/replay';
import fc from 'fast-check';
import { seededRandom } from '../helpers/arbitraries.ts';
import { refusal, SEED } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const SIZES = { numPhysicalExperts: 6, numRanks: 2 };

/** Seeded whole loads [steps][2 layers][4 experts]. */
function stepsOf(seed: number, numSteps: number): number[][][] {
  const random = seededRandom(seed);
  return Array.from({ length: numSteps }, () =>
    Array.from({ length: 2 }, () => Array.from({ length: 4 }, () => Math.floor(100 * random() ** 3))),
  );
}

/**
 * Every number that can be reached from a value: through properties, prototypes' getters, arrays, whole
 * buffers.
 */
function reachable(root: unknown): Set<number> {
  const numbers = new Set<number>();
  const seen = new Set<unknown>();
  const visit = (value: unknown): void => {
    if (typeof value === 'number') numbers.add(value);
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
      // All of the memory behind it, not only the part that was handed over.
      const buffer = ArrayBuffer.isView(value) ? value.buffer : value;
      if (seen.has(buffer) && buffer !== value) return;
      seen.add(buffer);
      for (const number of new Float32Array(buffer, 0, buffer.byteLength >> 2)) numbers.add(number);
      for (const number of new Float64Array(buffer, 0, buffer.byteLength >> 3)) numbers.add(number);
      return;
    }
    for (
      let at: object | null = value;
      at !== null && at !== Object.prototype;
      at = Object.getPrototypeOf(at)
    ) {
      for (const key of Reflect.ownKeys(at)) {
        try {
          visit(Reflect.get(value, key));
        } catch {}
      }
    }
  };
  visit(root);
  return numbers;
}

/** Looks for the loads of steps that are still to come, wherever it can get. */
class Peeking extends DefaultEplbPolicy {
  override readonly name = 'peeking';
  numPlans = 0;
  readonly seen = new Set<number>();
  #kept: unknown[] = [];

  override rebalanceExperts(
    weight: LoadsInput,
    ...rest: [number, number, number, number, PolicyContext?]
  ): ExpertMapping {
    this.numPlans++;
    // What it was given before too: a buffer that is used again would tell the next steps.
    this.#kept.push(weight, rest, this);
    for (const number of reachable(this.#kept)) this.seen.add(number);
    return super.rebalanceExperts(weight, ...rest);
  }
}

/** A policy that gives whatever it is told. */
class Giving extends AbstractEplbPolicy {
  readonly name = 'giving';
  readonly #result: unknown;
  constructor(result: unknown) {
    super();
    this.#result = result;
  }
  override rebalanceExperts(): ExpertMapping {
    return this.#result as ExpertMapping;
  }
}

describe('a policy cannot see the next step', () => {
  test('whatever it can reach holds no load of a later step', async () => {
    const numSteps = 12;
    // Every step has loads of its own, exact in float32.
    const mark = (step: number) => 10_007 * (step + 1);
    const otherMark = (step: number) => 50_021 * (step + 1);
    const steps = Array.from({ length: numSteps }, (_, step) => [
      [mark(step), 1, 2, 3],
      [otherMark(step), 1, 2, 3],
    ]);
    const policy = new Peeking();
    const source = memoryRecording(steps);
    let numStepsGiven = 0;
    const checked: ReplaySource = {
      ...source,
      async *steps(range) {
        for await (const step of source.steps(range)) {
          numStepsGiven = step.step + 1;
          yield step;
          for (let later = step.step + 1; later < numSteps; later++) {
            assert.ok(!policy.seen.has(mark(later)), `after step ${step.step} it saw step ${later}`);
            assert.ok(!policy.seen.has(otherMark(later)), `after step ${step.step} it saw step ${later}`);
          }
        }
      },
    };
    const options = {
      ...SIZES,
      policy,
      windowSize: 1,
      trigger: { interval: 1 },
      planningSeconds: 0,
      layersPerStep: 2,
    };
    const { plans } = await replay(checked, options);
    assert.equal(numStepsGiven, numSteps);
    assert.equal(plans.length, policy.numPlans);
    // The search does find what it may: the step that has just passed.
    assert.ok(policy.seen.has(mark(0)) && policy.numPlans >= numSteps / 2, 'the search finds nothing');
  });

  test('what comes later changes nothing before', async () => {
    const prefix = fc.record({
      seed: fc.integer(),
      length: fc.integer({ min: 1, max: 20 }),
      more: fc.integer({ min: 1, max: 10 }),
    });
    await fc.assert(
      fc.asyncProperty(prefix, async ({ seed, length, more }) => {
        const before = stepsOf(seed, length);
        const options: ReplayOptions = {
          ...SIZES,
          policy: new DefaultEplbPolicy(),
          windowSize: 4,
          trigger: { interval: 5, loadThreshold: 1.5, drift: 0.3 },
          planningSeconds: 0,
        };
        const [one, other] = await Promise.all(
          [1, 2].map((tail) => replay(memoryRecording([...before, ...stepsOf(seed + tail, more)]), options)),
        );
        const upTo = (values: readonly number[]) => values.slice(0, length);
        assert.deepEqual(upTo(one!.series.balancedness.mean), upTo(other!.series.balancedness.mean));
        assert.deepEqual(upTo(one!.series.moves), upTo(other!.series.moves));
        const promises = ({ plans }: typeof one & {}) =>
          plans
            .filter(({ startedAfterStep }) => startedAfterStep < length)
            .map((plan) => [
              plan.startedAfterStep,
              plan.reasons,
              plan.layerOrder,
              plan.predictedGainSecondsPerStep,
            ]);
        assert.deepEqual(promises(one!), promises(other!));
      }),
      { numRuns: 60, seed: SEED },
    );
  });
});

test('plans are made from the mean of the last steps of the window, whatever starts them', async () => {
  class Noting extends DefaultEplbPolicy {
    override readonly name = 'noting';
    readonly given: number[][] = [];
    override rebalanceExperts(weight: LoadsInput, ...rest: [number, number, number, number, PolicyContext?]) {
      this.given.push('data' in weight ? [...weight.data] : weight.flat());
      return super.rebalanceExperts(weight, ...rest);
    }
  }
  const problem = fc.record({
    seed: fc.integer(),
    numSteps: fc.integer({ min: 1, max: 30 }),
    windowSize: fc.integer({ min: 1, max: 12 }),
    interval: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
    drift: fc.option(fc.constantFrom(0.05, 0.3), { nil: undefined }),
    require: fc.constantFrom('any', 'all'),
    planningSeconds: fc.constantFrom(0, 1e-5, 1e-4),
  });
  await fc.assert(
    fc.asyncProperty(
      problem,
      async ({ seed, numSteps, windowSize, planningSeconds, interval, drift, require }) => {
        if (interval === undefined && drift === undefined) return;
        const steps = stepsOf(seed, numSteps);
        const policy = new Noting();
        const conditions = {
          ...(interval === undefined ? {} : { interval }),
          ...(drift === undefined ? {} : { drift }),
        };
        const trigger = { ...conditions, require };
        const { plans } = await replay(memoryRecording(steps), {
          ...SIZES,
          policy,
          windowSize,
          trigger,
          planningSeconds,
        });
        assert.equal(plans.length, policy.given.length);
        plans.forEach(({ startedAfterStep: last, numSamples }, i) => {
          const window = steps.slice(Math.max(0, last + 1 - windowSize), last + 1);
          const mean = steps[0]!
            .flat()
            .map((_, at) => window.reduce((sum, step) => sum + step.flat()[at]!, 0) / window.length);
          assert.deepEqual(policy.given[i], mean.map(Math.fround));
          assert.ok(numSamples >= window.length, `${numSamples} samples`);
        });
      },
    ),
    { numRuns: 200, seed: SEED },
  );
});

describe('every mapping is checked before it is scored', () => {
  const run = (result: unknown) =>
    replay(memoryRecording(stepsOf(1, 4)), {
      ...SIZES,
      policy: new Giving(result),
      trigger: { interval: 1 },
      planningSeconds: 0,
    });
  const rows = (...slots: number[]) => ({ phyToLog: [slots, slots], numLogicalExperts: 4 });

  test('a dropped expert, a slot that does not exist, experts that do not, another shape', async () => {
    const refused = (message: RegExp) => refusal('other', 'EPLB_POLICY', message);
    await assert.rejects(run(rows(0, 1, 2, 2, 0, 1)), refused(/layer 0.*expert 3/));
    await assert.rejects(run(rows(0, 1, 2, 3, 4, 1)), refused(/4/));
    await assert.rejects(run(rows(0, 1, 2, 3, -2, 1)), refused(/-2/));
    await assert.rejects(run(rows(0, 1, 2, 3)), refused(/4 entries, not 6/));
    await assert.rejects(
      run({
        ...rows(0, 1, 2, 3, 0, 1),
        replicaCount: [
          [9, 9, 9, 9],
          [2, 2, 1, 1],
        ],
      }),
      refused(/9/),
    );
    const beyond = [0, 1, 2, 3].map((expert) => [expert, 99]);
    await assert.rejects(run({ ...rows(0, 1, 2, 3, 0, 1), logToPhy: [beyond, beyond] }), refused(/99/));
    await assert.rejects(run(7), refused(/7/));
  });

  test('a mapping that tells other things than it holds', async () => {
    class Lying extends ExpertMapping {
      override get replicaCount(): Int32Array {
        return super.replicaCount.fill(1);
      }
    }
    class Dropping extends ExpertMapping {
      override get phyToLog(): Int32Array {
        return super.phyToLog.fill(0);
      }
      override get replicaCount(): Int32Array {
        return Int32Array.of(6, 0, 0, 0, 6, 0, 0, 0);
      }
    }
    class Beyond extends ExpertMapping {
      override get phyToLog(): Int32Array {
        return super.phyToLog.fill(7);
      }
    }
    const init = rows(0, 1, 2, 3, 0, 1);
    await assert.rejects(
      run(new Lying(init)),
      refusal('other', 'EPLB_MAPPING', /counts 1 replicas of expert 0 of layer 0; its slots hold 2/),
    );
    await assert.rejects(
      run(new Dropping(init)),
      refusal('other', 'EPLB_MAPPING', /drops expert 1 of layer 0/),
    );
    await assert.rejects(
      run(new Beyond(init)),
      refusal('other', 'EPLB_MAPPING', /expert 7 in layer 0, slot 0/),
    );
  });

  test('an order of layers that is none, and one that leaves layers out', async () => {
    const options = { ...SIZES, trigger: { interval: 2 }, planningSeconds: 0 };
    const ordered = (layerOrder: unknown) => Object.assign(new DefaultEplbPolicy(), { layerOrder });
    for (const layerOrder of [[0, 0], [2], ['1'], 1]) {
      await assert.rejects(
        replay(memoryRecording(stepsOf(1, 4)), { ...options, policy: ordered(layerOrder) }),
        refusal('range', 'EPLB_POLICY', /layerOrder/),
      );
    }
    const reversed = await replay(memoryRecording(stepsOf(5, 8)), { ...options, policy: ordered([1, 0]) });
    assert.deepEqual(reversed.plans[0]!.layerOrder, [1, 0]);
    const second = await replay(memoryRecording(stepsOf(2, 8)), { ...options, policy: ordered([1]) });
    assert.ok(second.totals.moves > 0, 'nothing moved');
    assert.equal(second.layers[0]!.changedSlots, 0);
  });
});

describe('a recording that is wrong', () => {
  const options: ReplayOptions = { ...SIZES, policy: 'static' };
  const of = (...given: { step: number; loads: number[] }[]): ReplaySource => ({
    numLayers: 1,
    numLogicalExperts: 4,
    async *steps() {
      for (const { step, loads } of given) yield { step, loads: Float32Array.from(loads), bytesRead: 0 };
    },
  });

  test('holds no step, or not those asked for', async () => {
    await assert.rejects(replay(of(), options), refusal('other', 'EPLB_FORMAT', /holds no step$/));
    const none = replay(of(), { ...options, steps: { from: 3, to: 5 } });
    await assert.rejects(none, refusal('other', 'EPLB_FORMAT', /no step from 3 to 5/));
  });

  test('goes backwards, or repeats a step', async () => {
    const loads = [1, 2, 3, 4];
    const back = replay(of({ step: 5, loads }, { step: 4, loads }), options);
    await assert.rejects(back, refusal('range', 'EPLB_FORMAT', /step 4 comes after step 5/));
    await assert.rejects(
      replay(of({ step: 5, loads }, { step: 5, loads }), options),
      refusal('range', 'EPLB_FORMAT', /step 5 comes/),
    );
  });

  test('has steps of another shape, or loads that are none', async () => {
    const short = replay(of({ step: 0, loads: [1, 2, 3] }), options);
    await assert.rejects(short, refusal('range', 'EPLB_SHAPE', /step 0 has 3 loads, not 1 layers of 4/));
    for (const bad of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const given = replay(of({ step: 0, loads: [1, 2, 3, 4] }, { step: 1, loads: [1, 2, bad, 4] }), options);
      await assert.rejects(given, refusal('range', 'EPLB_LOAD', /step 1: layer 0, index 2/));
      const planned = { ...SIZES, policy: new DefaultEplbPolicy() };
      const recorded = replay(of({ step: 7, loads: [1, bad, 3, 4] }), planned);
      await assert.rejects(recorded, refusal('range', 'EPLB_LOAD', /step 7: layer 0, index 1/));
    }
  });
});

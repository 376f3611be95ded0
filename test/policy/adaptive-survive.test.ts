import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  ExpertLoadBalancer,
  ExpertMapping,
  type Survival,
  survival,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { type AdaptiveProblem, adaptiveProblems, makeSamples, noiseSamples } from '../helpers/adaptive.ts';
import { SEED } from '../helpers/library.ts';

/** Problems with a level of failures, and one sample: then the loads planned for are those of it. */
const problems = (maxSlots: number) =>
  fc
    .tuple(
      adaptiveProblems(maxSlots),
      fc.constantFrom('rank', 'node', 'rack'),
      fc.array(fc.nat(2), { minLength: 8, maxLength: 8 }),
    )
    .map(([problem, survive, racks]) => {
      const { topology, samples } = problem;
      const { numRanks } = topology;
      const rack = racks.slice(0, numRanks).map((one) => Math.min(one, numRanks - 1));
      const length = samples.numLayers * samples.numExperts;
      const one = { ...samples, data: samples.data.slice(-length), numSamples: 1 };
      const { locality: _, ...options } = problem.options;
      return {
        ...problem,
        topology: { ...topology, failureDomains: { rack } },
        samples: one,
        options: { ...options, survive },
      };
    });

function plan({ topology, samples, options }: AdaptiveProblem, previous?: ExpertMapping) {
  const { numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
  const context = previous === undefined ? { topology } : { topology, previous };
  return new AdaptiveEplbPolicy(options).planExperts(
    samples,
    numPhysicalExperts,
    numGroups,
    numNodes,
    numRanks,
    context,
  );
}

function survivalOf({ topology, samples, options }: AdaptiveProblem, mapping: ExpertMapping): Survival {
  const { numLayers, numExperts, data } = samples;
  return survival(mapping, { level: options.survive!, topology, loads: { data, numLayers, numExperts } });
}

/** A share that is as much as there can be, but for how float32 rounds which experts are the heaviest. */
const REACHED = 1e-6;

describe('plans that survive any single failure', () => {
  test('first plans: as much load as there can be', () => {
    const property = fc.property(problems(48), (problem) => {
      for (const layer of survivalOf(problem, plan(problem).mapping).layers) {
        assert.ok(layer.surviving >= layer.mostSurviving);
        assert.ok(layer.share! >= layer.mostShare! - REACHED, `${layer.share} of ${layer.mostShare}`);
      }
    });
    fc.assert(property, { numRuns: 100, seed: SEED });
  });

  test('and plans from any live placement, unless the loads are noise', () => {
    const property = fc.property(problems(48), (problem) => {
      const { mapping } = plan(problem, problem.previous);
      for (const layer of survivalOf(problem, mapping).layers)
        assert.ok(layer.surviving >= layer.mostSurviving);
      // Of loads told from equal ones it is the heaviest that survive.
      const again = plan(problem, mapping);
      const { overall } = survivalOf(problem, again.mapping);
      assert.ok(overall.surviving >= overall.mostSurviving);
    });
    fc.assert(property, { numRuns: 100, seed: SEED });
  });

  test('what survives stays where nothing pays, and what does not changes at any price', () => {
    const topology: Topology = { ...SIZES, numNodes: 2 };
    const samples = makeSamples(topology, 16, 3);
    const options = { survive: 'node', price: 1e6 };
    const first = plan({ topology, samples, options, previous: START });
    const mustMove = plan(
      { topology, samples, options: { ...options, maxMoves: 0 }, previous: START },
      START,
    );
    assert.equal(mustMove.status, 'planned');
    assert.equal(survival(mustMove.mapping, { level: 'node', topology }).overall.surviving, 3 * 8);
    const kept = plan({ topology, samples, options, previous: START }, first.mapping);
    assert.equal(kept.status, 'kept');
    assert.equal(kept.mapping, first.mapping);
  });

  test('experts that survive stay while others are hardly heavier, unless moves are free', () => {
    // Eight of sixteen experts can survive: the lighter ones of both kinds are 7 and 8.
    const topology: Topology = { ...SIZES, numNodes: 2 };
    const loadsOf = (seven: number, eight: number) => {
      const row = Array.from({ length: 16 }, (_, expert): number => (expert < 7 ? 90 : expert > 8 ? 30 : 0));
      const layer = row.with(7, seven).with(8, eight);
      return { ...makeSamples(topology, 1, 1), data: Float32Array.from([layer, layer, layer].flat()) };
    };
    const planned = (seven: number, eight: number, price: number, previous?: ExpertMapping) =>
      plan(
        { topology, samples: loadsOf(seven, eight), options: { survive: 'node', price }, previous: START },
        previous,
      ).mapping;
    const survivors = (mapping: ExpertMapping) => {
      const has = (expert: number) =>
        new Set(mapping.getPhysicalExperts(0, expert).map((slot) => Math.floor(slot / 12))).size === 2;
      return [has(7), has(8)];
    };
    const first = planned(60, 50, 0);
    assert.deepEqual(survivors(first), [true, false]);
    assert.equal(planned(60, 66, 100, first), first, 'a tenth more is not worth a move');
    assert.deepEqual(survivors(planned(50, 66, 100, first)), [false, true]);
    assert.deepEqual(survivors(planned(60, 66, 0, first)), [false, true]);
  });

  test('loads that are chance do not change which experts survive', () => {
    const topology: Topology = { ...SIZES, numNodes: 2 };
    const options = { survive: 'rank', price: 0 };
    const first = plan({
      topology,
      samples: noiseSamples(topology, 16, 600, 1),
      options,
      previous: START,
    }).mapping;
    const next = plan(
      { topology, samples: noiseSamples(topology, 16, 600, 2), options, previous: START },
      first,
    );
    assert.equal(next.mapping, first);
  });

  test('the pool plans the same bytes', async () => {
    const topology = { ...SIZES, numNodes: 2, failureDomains: { rack: [0, 1, 1, 0] } };
    const policy = new AdaptiveEplbPolicy({ survive: 'rack' });
    const digests: string[] = [];
    for (const threads of [0, 2]) {
      await using balancer = new ExpertLoadBalancer({ ...topology, policy, windowSize: 8, threads });
      const { data } = makeSamples(topology, 8, 5);
      for (let step = 0; step < 8; step++) {
        for (let layer = 0; layer < 3; layer++) {
          const at = (step * 3 + layer) * 16;
          balancer.recordLogicalLoad(layer, data.subarray(at, at + 16));
        }
        balancer.advanceWindow();
      }
      const { mapping } = await balancer.decide();
      assert.equal(
        survival(mapping, { level: 'rack', topology: { ...topology, numGroups: 1 } }).overall.surviving,
        24,
      );
      digests.push(mapping.digest());
    }
    assert.equal(digests[0], digests[1]);
  });

  test('what cannot be is refused', () => {
    const wrong: readonly [options: object, code: string][] = [
      [{ survive: 3 }, 'EPLB_KIND'],
      [{ survive: 'node', locality: 'groups' }, 'EPLB_OPTION'],
    ];
    for (const [options, code] of wrong)
      assert.throws(() => new AdaptiveEplbPolicy(options as AdaptiveEplbPolicyOptions), { code });
    const policy = new AdaptiveEplbPolicy({ survive: 'rack' });
    const message = 'survive: "rack" is not a level of what fails together; there are rank, node';
    assert.throws(() => new ExpertLoadBalancer({ ...SIZES, numNodes: 2, policy }), {
      code: 'EPLB_RANGE',
      message,
    });
  });
});

const SIZES = {
  numLayers: 3,
  numLogicalExperts: 16,
  numPhysicalExperts: 24,
  numRanks: 4,
  numGroups: 1,
  numNodes: 1,
};
const START = ExpertMapping.fromPhysicalToLogical(
  [0, 1, 2].map(() => Array.from({ length: 24 }, (_, slot) => Math.floor((slot * 2) / 3))),
);

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  EplbRangeError,
  ExpertLoadBalancer,
  ExpertMapping,
  LocalityAwarePolicy,
  type LocalityAwarePolicyOptions,
  type PlanDecision,
  type PolicyContext,
  type Topology,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { LayerStat, STATS_PER_LAYER } from '../../src/policy/adaptive/request.ts';
import { openSlots } from '../helpers/adaptive.ts';
import { divisors, loadsArbitrary, seededRandom } from '../helpers/arbitraries.ts';
import { runInChild } from '../helpers/child.ts';
import { assertForAll } from '../helpers/property.ts';

test('a layer without load that has to change, with a limit of moves, is planned inline', () => {
  const plan = (threads: number): string =>
    runInChild(`
      const sizes = { numLayers: 1, numLogicalExperts: 16, numPhysicalExperts: 24, numRanks: 4, slotsPerRank: [6, 5, 6, 5] };
      const rows = [Array.from({ length: 24 }, (_, slot) => slot % 16)];
      const previous = library.ExpertMapping.fromPhysicalToLogical(rows, 16);
      const policy = new library.AdaptiveEplbPolicy({ cost: {}, maxMoves: 8, numKicks: 5 });
      const balancer = new library.ExpertLoadBalancer({ ...sizes, threads: ${threads}, policy });
      const samples = { data: new Float32Array(64), numSamples: 4, numLayers: 1, numExperts: 16 };
      const { status, mapping } = await balancer.decide(undefined, { samples, previous });
      await balancer.close();
      console.log(JSON.stringify({ status, row: mapping.toJSON().phyToLog[0] }));`);
  const { status, row } = JSON.parse(plan(0));
  assert.equal(status, 'planned');
  assert.deepEqual(new Set(row), new Set([-1, ...Array(16).keys()]));
  for (const slot of [11, 23]) assert.equal(row[slot], -1);
  assert.deepEqual(JSON.parse(plan(1)), { status, row });
});

/** A search that would take minutes, in one layer. */
const ENDLESS = `
  const sizes = { numLayers: 1, numLogicalExperts: 64, numPhysicalExperts: 80, numRanks: 16, threads: 1 };
  const policy = new library.AdaptiveEplbPolicy({ price: 0, numKicks: 2 ** 31 - 1, maxEvaluations: 2 ** 31 - 1 });
  const balancer = new library.ExpertLoadBalancer({ ...sizes, policy });
  const weight = [Array.from({ length: 64 }, (_, expert) => 1 + (expert * 37) % 64)];
  await balancer.start();`;

test('a search within a layer ends when its plan is aborted, and the balancer plans on', () => {
  const printed = runInChild(`${ENDLESS}
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    const { code } = await balancer.plan(weight, { signal: abort.signal }).catch((error) => error);
    const again = new AbortController();
    setTimeout(() => again.abort(), 100);
    const next = await balancer.plan(weight, { signal: again.signal }).catch((error) => error);
    await balancer.close();
    console.log(code, next.code);`);
  assert.equal(printed, 'EPLB_CANCELLED EPLB_CANCELLED\n');
});

test('a search within a layer ends when its balancer is closed', () => {
  const printed = runInChild(`${ENDLESS}
    const plan = balancer.plan(weight).catch((error) => error);
    setTimeout(() => balancer.close(), 100);
    const { code } = await plan;
    console.log(code);`);
  assert.equal(printed, 'EPLB_CLOSED\n');
});

/** Ranks of nodes with any loads in their layers: none at all, tiny and huge ones, all on one expert. */
interface Problem<Options> {
  readonly topology: Topology;
  readonly numSamples: number;
  /** [samples x layers][experts] */
  readonly rows: readonly (readonly number[])[];
  readonly previous: ExpertMapping | undefined;
  readonly options: Options;
}

function problems<Options>(
  maxSlots: number,
  options: fc.Arbitrary<Options>,
  mayClose: boolean,
): fc.Arbitrary<Problem<Options>> {
  return fc
    .record({ numRanks: fc.constantFrom(1, 2, 3, 4, 8, 16), stride: fc.integer({ min: 1, max: 6 }) })
    .filter(({ numRanks, stride }) => numRanks * stride <= Math.min(maxSlots, 64))
    .chain(({ numRanks, stride }) =>
      fc.record({
        numRanks: fc.constant(numRanks),
        numNodes: fc.constantFrom(...divisors(numRanks)),
        numPhysicalExperts: fc.constant(numRanks * stride),
        numLayers: fc.integer({ min: 1, max: 3 }),
        open: mayClose ? openSlots(numRanks, stride) : fc.constant(undefined),
        share: fc.constantFrom(0, 0.3, 0.6, 1),
      }),
    )
    .chain(({ open, share, ...sizes }) => {
      const numOpen = open?.reduce((sum, slots) => sum + slots, 0) ?? sizes.numPhysicalExperts;
      const numLogicalExperts = Math.max(1, Math.round(share * numOpen));
      const loads = fc.oneof(
        { weight: 3, arbitrary: loadsArbitrary(numLogicalExperts) },
        { weight: 1, arbitrary: fc.constant(new Array<number>(numLogicalExperts).fill(0)) },
      );
      return fc
        .record({
          numGroups: fc.constantFrom(...divisors(numLogicalExperts)),
          numSamples: fc.integer({ min: 1, max: 5 }),
          // A layer's loads are of one kind in all samples, or of any.
          layers: fc.array(fc.array(loads, { minLength: 5, maxLength: 5 }), {
            minLength: sizes.numLayers,
            maxLength: sizes.numLayers,
          }),
          idle: fc.nat({ max: 3 }),
          hasPrevious: fc.boolean(),
          seed: fc.integer(),
          options,
        })
        .map(({ numGroups, numSamples, layers, idle, hasPrevious, seed, options }) => {
          const topology = {
            ...sizes,
            numLogicalExperts,
            numGroups,
            ...(open ? { slotsPerRank: open } : {}),
          };
          const rows = Array.from({ length: numSamples * sizes.numLayers }, (_, i) => {
            const layer = i % sizes.numLayers;
            return layer === idle
              ? layers[layer]![0]!.map(() => 0)
              : layers[layer]![Math.floor(i / sizes.numLayers)]!;
          });
          return {
            topology,
            numSamples,
            rows,
            previous: hasPrevious ? liveMapping(topology, seed) : undefined,
            options,
          };
        });
    });
}

/** Every expert somewhere, in closed slots too; the other slots hold anything, or nothing. */
function liveMapping(
  { numLayers, numLogicalExperts, numPhysicalExperts }: Topology,
  seed: number,
): ExpertMapping {
  const random = seededRandom(seed);
  const rows = Array.from({ length: numLayers }, () => {
    const row = Array.from({ length: numPhysicalExperts }, (_, slot) =>
      slot < numLogicalExperts ? slot : Math.floor(random() * (numLogicalExperts + 1)) - 1,
    );
    for (let slot = row.length - 1; slot > 0; slot--) {
      const other = Math.floor(random() * (slot + 1));
      [row[slot], row[other]] = [row[other]!, row[slot]!];
    }
    return row;
  });
  return ExpertMapping.fromPhysicalToLogical(rows, numLogicalExperts);
}

const MANY = 2 ** 31 - 1;

/** Every option at its ends and between. */
function adaptiveOptions(): fc.Arbitrary<AdaptiveEplbPolicyOptions> {
  const moves = fc.oneof(fc.constantFrom(0, 1, MANY), fc.nat({ max: 200 }));
  const extreme = fc.constantFrom(1e-300, 1e-9, 1, 1e9, 1e300);
  return fc.record(
    {
      price: fc.constantFrom(0, 1e-300, 0.002, 1, 1e30, 1e38, 1e39, 1e308, Number.MAX_VALUE),
      maxMovesPerLayer: moves,
      maxMoves: moves,
      maxBytes: fc.constantFrom(0, 1e7, 1e308, Number.POSITIVE_INFINITY),
      maxEvaluations: fc.constantFrom(1, 2, 100, 3000),
      // As many as there may be end with the whole budget, after seconds: few of them do.
      numKicks: fc.oneof(
        { arbitrary: fc.constantFrom(0, 1, 20), weight: 40 },
        { arbitrary: fc.constant(MANY), weight: 1 },
      ),
      locality: fc.constantFrom('none' as const, 'groups' as const),
      confidence: fc.constantFrom(0, 1e-300, 2, 1e308),
      cost: fc.record(
        {
          secondsPerLoad: extreme,
          stepsPerPlan: extreme,
          bytesPerExpert: extreme,
          bandwidthWithinNode: extreme,
          bandwidthBetweenNodes: extreme,
        },
        { requiredKeys: [] },
      ),
      rememberedSteps: fc.constantFrom(0, 1, 65_536),
      maxSamples: fc.integer({ min: 1, max: 64 }),
    },
    { requiredKeys: ['maxEvaluations'] },
  );
}

/** A layer's searches: its plan, six dearer ones, and whether anything would be gained for free. */
const SEARCHES = 8;

/** Counts the steps that the searches of its last plan looked at. */
class CountingPolicy extends AdaptiveEplbPolicy {
  readonly evaluations: number[] = [];

  // Internal, so not in the library's types.
  decideOn(topology: Topology, tables: { stats: Float64Array }, previous: ExpertMapping): PlanDecision {
    this.evaluations.splice(0);
    for (let layer = 0; layer < topology.numLayers; layer++)
      this.evaluations.push(tables.stats[layer * STATS_PER_LAYER + LayerStat.EVALUATIONS]!);
    const { decideOn }: { decideOn: CountingPolicy['decideOn'] } = AdaptiveEplbPolicy.prototype as never;
    return decideOn.call(this, topology, tables, previous);
  }
}

test('an adaptive plan of any loads ends within its budget and is valid, or is refused', () => {
  const property = ({
    topology,
    numSamples,
    rows,
    previous,
    options,
  }: Problem<AdaptiveEplbPolicyOptions>): void => {
    const { numLayers, numLogicalExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = topology;
    const data = Float32Array.from(rows.flat());
    const samples = { data, numSamples, numLayers, numExperts: numLogicalExperts };
    const policy = new CountingPolicy(options);
    const context: PolicyContext = {
      ...(previous === undefined ? {} : { previous }),
      ...(topology.slotsPerRank === undefined ? {} : { slotsPerRank: topology.slotsPerRank }),
    };
    try {
      const plan = policy.planExperts(samples, numPhysicalExperts, numGroups, numNodes, numRanks, context);
      assertWhole(plan.mapping, topology, plan.status === 'kept');
    } catch (error) {
      // A node may be too small for its groups.
      if (!(error instanceof EplbRangeError)) throw error;
      assert.equal(error.code, 'EPLB_TOPOLOGY');
    }
    const atOnce = numPhysicalExperts * (numPhysicalExperts + numLogicalExperts);
    for (const evaluations of policy.evaluations) {
      assert.ok(evaluations <= SEARCHES * (options.maxEvaluations! + atOnce), `${evaluations} evaluations`);
    }
  };
  assertForAll(
    (maxSlots) => problems(maxSlots, adaptiveOptions(), true),
    { small: 500, large: 30 },
    property,
  );
});

test('a locality plan of any loads and options is valid', () => {
  const options: fc.Arbitrary<LocalityAwarePolicyOptions> = fc.record(
    {
      tolerance: fc.constantFrom(0, 1e-300, 0.05, 0.999, 1 - 2 ** -53),
      maxEvaluations: fc.constantFrom(1, 2, 100, 3000),
    },
    { requiredKeys: [] },
  );
  const property = ({ topology, rows, previous, options }: Problem<LocalityAwarePolicyOptions>): void => {
    const { numLayers, numLogicalExperts: numExperts, numPhysicalExperts } = topology;
    const { numGroups, numNodes, numRanks } = topology;
    const weight = { data: Float32Array.from(rows.slice(0, numLayers).flat()), numLayers, numExperts };
    const random = seededRandom(rows.length);
    const kinds = [0, 1, 1e-45, 3e38];
    const matrix = Float32Array.from({ length: numLayers * numExperts ** 2 }, () =>
      random() < 0.9 ? Math.floor(100 * random()) : kinds[Math.floor(random() * kinds.length)]!,
    );
    const mapping = new LocalityAwarePolicy(options).rebalanceExperts(
      weight,
      numPhysicalExperts,
      numGroups,
      numNodes,
      numRanks,
      {
        ...(previous === undefined ? {} : { previous }),
        coactivation: { data: matrix, numLayers, numExperts },
      },
    );
    assertWhole(mapping, topology, false);
  };
  assertForAll((maxSlots) => problems(maxSlots, options, false), { small: 300, large: 20 }, property);
});

/**
 * Every expert has a slot; slots that are closed, and no others, are empty, but for a mapping that was kept.
 */
function assertWhole(mapping: ExpertMapping, topology: Topology, isKept: boolean): void {
  const { numLogicalExperts, numPhysicalExperts, numRanks, slotsPerRank } = topology;
  const stride = numPhysicalExperts / numRanks;
  for (const row of mapping.toJSON().phyToLog) {
    assert.equal(new Set(row.filter((expert) => expert >= 0)).size, numLogicalExperts);
    for (const [slot, expert] of row.entries()) {
      const isOpen = slot % stride < (slotsPerRank?.[Math.floor(slot / stride)] ?? stride);
      if (!isOpen) assert.equal(expert, -1, `slot ${slot} is closed`);
      else if (!isKept) assert.ok(expert >= 0 && expert < numLogicalExperts, `slot ${slot}`);
    }
  }
}

test('more slots or ranks than a search is for are refused, naming the limit', () => {
  const sizes = { numLayers: 1, numLogicalExperts: 8, numPhysicalExperts: 16_384 + 8, numRanks: 8 };
  const weight = [new Array<number>(8).fill(1)];
  const isRefusal = (text: string) => (error: unknown) =>
    error instanceof EplbRangeError && error.code === 'EPLB_TOPOLOGY' && error.message === text;
  const adaptive = new AdaptiveEplbPolicy();
  const slots = isRefusal(
    'topology: 16392 slots in a layer are more than the adaptive policy plans for: at most 16384',
  );
  assert.throws(() => new ExpertLoadBalancer({ ...sizes, policy: adaptive }), slots);
  assert.throws(() => adaptive.rebalanceExperts(weight, 16_392, 1, 1, 8), slots);
  const ranks = isRefusal(
    'topology: 2048 ranks in a layer are more than the adaptive policy plans for: at most 1024',
  );
  assert.throws(
    () => new ExpertLoadBalancer({ ...sizes, numPhysicalExperts: 2048, numRanks: 2048, policy: adaptive }),
    ranks,
  );
  assert.throws(() => adaptive.rebalanceExperts(weight, 2048, 1, 1, 2048), ranks);
  const locality = new LocalityAwarePolicy();
  assert.throws(
    () => locality.rebalanceExperts([new Array<number>(4100).fill(1)], 4100, 1, 1, 10),
    isRefusal('topology: 4100 experts in a layer are more than the locality policy plans for: at most 4096'),
  );
  // What is searched is planned at the limit.
  assert.equal(adaptive.rebalanceExperts(weight, 16_384, 1, 1, 8).numPhysicalExperts, 16_384);
});

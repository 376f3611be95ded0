import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  DefaultEplbPolicy,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadMatrix,
  type LoadsInput,
  type PolicyContext,
  type PolicyNeeds,
} from 'expert-load-balancer';
import { replay } from 'expert-load-balancer/replay';

const ROUTES = Uint16Array.of(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);

/** Six tokens of one layer, two a step; each picks experts 0 and 1, or 2 and 3. */
const recording = {
  numLayers: 1,
  numLogicalExperts: 4,
  async *steps() {
    for (let step = 0; step < 3; step++) yield { step, loads: Float32Array.of(1, 1, 1, 1), bytesRead: 0 };
  },
  routes: {
    numTokens: 6,
    topK: 2,
    tokensPerStep: 2,
    async *read({ from = 0, to = 6 }: { from?: number; to?: number } = {}) {
      yield { ids: ROUTES.slice(2 * from, 2 * to), firstToken: from, numTokens: to - from };
    },
  },
};

/** A policy of one's own that has a name of the library's, and keeps what it was given. */
class Own extends AbstractEplbPolicy {
  readonly name = 'default';
  declare readonly needs?: PolicyNeeds;
  readonly seen: PolicyContext[] = [];

  constructor(needs?: PolicyNeeds) {
    super();
    if (needs !== undefined) this.needs = needs;
  }

  override rebalanceExperts(_: LoadMatrix, numSlots: number, ...rest: unknown[]): ExpertMapping {
    this.seen.push(rest[3] as PolicyContext);
    return ExpertMapping.fromPhysicalToLogical([Array.from({ length: numSlots }, (_, slot) => slot % 4)]);
  }
}

/** A subclass of one of the library's that looks at pairs. */
class Sub extends DefaultEplbPolicy {
  override readonly needs = { coactivation: true };
  readonly seen: PolicyContext[] = [];

  override rebalanceExperts(
    weight: LoadsInput,
    numReplicas: number,
    numGroups: number,
    numNodes: number,
    numRanks: number,
    context: PolicyContext = {},
  ): ExpertMapping {
    this.seen.push(context);
    return super.rebalanceExperts(weight, numReplicas, numGroups, numNodes, numRanks, context);
  }
}

async function contextsOf(policy: Own | Sub): Promise<readonly PolicyContext[]> {
  const options = {
    numPhysicalExperts: 4,
    numRanks: 2,
    policy,
    planningSeconds: 0,
    trigger: { interval: 1 },
  };
  await replay(recording, options);
  assert.ok(policy.seen.length > 0);
  return policy.seen;
}

test('a policy gets co-activation when it says that it needs it, whatever it is called', async () => {
  for (const policy of [new Own({ coactivation: true }), new Own(), new Sub()]) {
    const [{ coactivation } = {}] = await contextsOf(policy);
    assert.deepEqual(
      coactivation && [...coactivation.data],
      [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0],
    );
  }
  for (const context of await contextsOf(new Own({}))) assert.equal(context.coactivation, undefined);
});

test('a policy that needs samples gets them, as many as there are up to 64', async () => {
  for (const [needs, numSamples] of [[{ samples: true }, 3] as const, [{}, undefined] as const]) {
    const policy = new Own(needs);
    const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 4, numRanks: 2 };
    await using balancer = new ExpertLoadBalancer({ ...sizes, policy, windowSize: 8, threads: 0 });
    for (let step = 0; step < 3; step++) {
      balancer.recordLogicalLoad(0, [1, 2, 3, step]);
      balancer.advanceWindow();
    }
    await balancer.rebalance();
    assert.equal(policy.seen[0]!.samples?.numSamples, numSamples);
  }
});

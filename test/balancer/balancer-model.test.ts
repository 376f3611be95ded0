import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AbstractEplbPolicy,
  AsyncExpertRebalancer,
  ExpertLoadBalancer,
  ExpertMapping,
  type LoadsInput,
} from 'expert-load-balancer';
import fc from 'fast-check';
import { BalancerModel } from '../helpers/balancer-model.ts';
import { SEED } from '../helpers/library.ts';

const sizes = { numLayers: 1, numLogicalExperts: 3, numPhysicalExperts: 4, numRanks: 2 } as const;
const NUM_RUNS = Number(process.env.EPLB_LONG_RUNS ?? 300);

/** What happens while a plan is made: commits of others, as many as it says for each plan in turn. */
type Meanwhile = readonly number[];

/** Gives a mapping of its own for each plan, and lets others act while it plans. */
class ScriptedPolicy extends AbstractEplbPolicy {
  readonly name = 'scripted';
  readonly made: ExpertMapping[] = [];
  meanwhile: (plan: number) => void = () => {};
  afterwards: () => void = () => {};
  #numPlans = 0;

  begin(meanwhile: (plan: number) => void): void {
    this.#numPlans = 0;
    this.meanwhile = meanwhile;
    this.afterwards = () => {};
  }

  override rebalanceExperts(_weight: LoadsInput): ExpertMapping {
    const mapping = anyMapping(this.made.length);
    this.made.push(mapping);
    this.meanwhile(this.#numPlans++);
    this.afterwards();
    return mapping;
  }
}

/** Always another object; its slots are in turn one of three. */
function anyMapping(number: number): ExpertMapping {
  return ExpertMapping.fromPhysicalToLogical([[number % 3, 0, 1, 2]]);
}

/** The real classes. */
class Real {
  readonly policy = new ScriptedPolicy();
  readonly balancer = new ExpertLoadBalancer({ ...sizes, windowSize: 2, threads: 0, policy: this.policy });
  readonly keeping = new AsyncExpertRebalancer({ balancer: this.balancer });
  readonly committing = new AsyncExpertRebalancer({ balancer: this.balancer, autoCommit: true });
  numForeign = 0;
}

type Command = fc.AsyncCommand<BalancerModel, Real>;

/** What came of commits and of a rebalancer's plans, in all runs. */
const seen = new Set<string>();

/** A step that both take, after which they have to be alike. */
function command(name: string, run: (model: BalancerModel, real: Real) => Promise<void> | void): Command {
  return {
    check: () => true,
    toString: () => name,
    async run(model, real) {
      await run(model, real);
      assert.equal(real.balancer.generation, model.generation);
      assert.equal(real.balancer.mapping, model.live);
      assert.equal(real.balancer.numSamples, model.numSamples);
    },
  };
}

function codeOf(work: () => void): string {
  try {
    work();
    return 'live';
  } catch (error) {
    return { EPLB_STALE: 'stale', EPLB_CLOSED: 'closed' }[(error as { code: string }).code] ?? String(error);
  }
}

/** Has the host's next mapping committed in both, as the other thread of control that it is. */
function commitForeign(model: BalancerModel, real: Real): void {
  const mapping = anyMapping(real.numForeign++);
  const expected = model.commit(mapping);
  assert.equal(
    codeOf(() => real.balancer.commit(mapping)),
    expected,
  );
}

/**
 * Has both plan. The real one plans first: what is committed meanwhile is noted, and done in the model at the
 * same plan.
 *
 * @returns hands the model, one by one, the mappings that the policy made
 */
async function plans(
  real: Real,
  meanwhile: Meanwhile,
  run: () => Promise<unknown>,
): Promise<(model: BalancerModel) => () => ExpertMapping> {
  const first = real.policy.made.length;
  const foreign: ExpertMapping[][] = [];
  real.policy.begin((plan) => {
    const commits = Array.from({ length: meanwhile[plan] ?? 0 }, () => anyMapping(real.numForeign++));
    foreign.push(commits);
    for (const mapping of commits) real.balancer.commit(mapping);
  });
  await run();
  return (model) => {
    let plan = 0;
    return () => {
      for (const mapping of foreign[plan] ?? []) model.commit(mapping);
      return real.policy.made[first + plan++] ?? assert.fail('the model plans more often');
    };
  };
}

const meanwhileArbitrary = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 5 });

const commands: fc.Arbitrary<Command>[] = [
  fc.constant(
    command('record a step', (model, { balancer }) => {
      if (model.isClosed) return;
      balancer.recordLogicalLoad(0, [3, 2, 1]);
      balancer.advanceWindow();
      model.numSamples = Math.min(model.numSamples + 1, 2);
    }),
  ),
  fc.constant(command('the host commits', commitForeign)),
  fc.nat().map((n) =>
    command(`roll back to ${n}`, (model, { balancer }) => {
      const mapping = model.past[n % model.past.length]!;
      assert.equal(
        codeOf(() => balancer.commit(mapping)),
        model.commit(mapping),
      );
    }),
  ),
  meanwhileArbitrary.map((meanwhile) =>
    command(`plan, meanwhile ${meanwhile}`, async (model, real) => {
      if (model.isClosed || model.numSamples === 0) return;
      const from = model.generation;
      const decided = { generation: -1 };
      const planOf = await plans(real, meanwhile, async () => {
        Object.assign(decided, await real.balancer.decide());
      });
      model.held.push(model.planned(planOf(model)(), from));
      assert.equal(decided.generation, from);
    }),
  ),
  fc.tuple(fc.nat(), fc.constantFrom('plain', 'from', 'force'), fc.nat(4)).map(([n, how, back]) =>
    command(`commit plan ${n} ${how} ${back}`, (model, { balancer }) => {
      const held = model.held[n % Math.max(model.held.length, 1)];
      if (held === undefined) return;
      const options =
        how === 'plain'
          ? {}
          : how === 'force'
            ? { force: true }
            : { from: Math.max(0, held.from + 2 - back) };
      const expected = model.commit(held.mapping, options);
      seen.add(`${how} ${expected}`);
      assert.equal(
        codeOf(() => balancer.commit(held.mapping, options)),
        expected,
      );
    }),
  ),
  fc
    .tuple(meanwhileArbitrary, fc.constantFrom('replan' as const, 'keep' as const))
    .map(([meanwhile, ifStale]) =>
      command(`rebalance (${ifStale}), meanwhile ${meanwhile}`, async (model, real) => {
        if (model.isClosed || model.numSamples === 0) return;
        const planOf = await plans(real, meanwhile, () => real.balancer.rebalance(undefined, { ifStale }));
        const numMade = real.policy.made.length;
        const next = planOf(model);
        let numUsed = 0;
        model.rebalance(ifStale, () => {
          numUsed++;
          return next();
        });
        assert.ok(numUsed >= 1 && numUsed <= (ifStale === 'keep' ? 1 : 4) && numMade >= numUsed);
      }),
    ),
  fc.tuple(meanwhileArbitrary, fc.boolean(), fc.boolean()).map(([meanwhile, autoCommit, stops]) =>
    command(`rebalanceAsync ${autoCommit} ${stops}, meanwhile ${meanwhile}`, async (model, real) => {
      const rebalancer = autoCommit ? real.committing : real.keeping;
      let status = 'closed';
      const planOf = await plans(real, meanwhile, async () => {
        if (stops) real.policy.afterwards = () => void rebalancer.stop();
        const outcome = await rebalancer.rebalanceAsync().catch((error) => {
          assert.equal(error.code, 'EPLB_CLOSED');
          return undefined;
        });
        if (outcome !== undefined) status = outcome.status === 'skipped' ? outcome.reason : outcome.status;
      });
      seen.add(status);
      assert.equal(status, model.rebalanceAsync(autoCommit, stops, planOf(model)));
    }),
  ),
  fc.constant(
    command('take what is pending', (model, { keeping }) => {
      assert.equal(keeping.getPendingMapping(), model.pending?.mapping);
      if (model.pending !== undefined) model.held.push(model.pending);
      model.pending = undefined;
    }),
  ),
  // Seldom: little can happen after it.
  fc.nat(9).map((n) => ({
    ...command('close', async (model, { balancer }) => {
      await balancer.close();
      model.isClosed = true;
    }),
    check: () => n === 0,
  })),
];

test('whoever commits meanwhile, balancer and rebalancer do what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), async (steps) => {
      const real = new Real();
      const setup = () => ({ model: new BalancerModel(real.balancer.mapping), real });
      await fc.asyncModelRun(setup, steps);
      await real.balancer.close();
    }),
    { numRuns: NUM_RUNS, seed: SEED },
  );
  // The runs came to all that can happen.
  const outcomes = ['pending', 'committed', 'stale', 'unchanged', 'stopped', 'no samples', 'closed'];
  const commits = ['plain', 'from', 'force'].flatMap((how) => [
    `${how} live`,
    `${how} stale`,
    `${how} closed`,
  ]);
  assert.deepEqual(
    [...seen].sort(),
    [...outcomes, ...commits.filter((commit) => commit !== 'force stale')].sort(),
  );
});

import assert from 'node:assert/strict';
import { checkTransfer, ExpertMapping, planTransfer, type TransferPlan } from 'expert-load-balancer';
import { beside, derived, type Figure, sampled } from '../figure.ts';
import { measure } from '../measure.ts';
import { firstFitTransfer } from '../peers/first-fit-transfer.ts';
import { Random } from '../random.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, sizeName } from '../workloads.ts';

/** Transfer plans, buffered, beside first-fit batches with one peer a rank. */
export const transferSuite: Suite = {
  name: 'transfer',
  title: 'Transfer plans of all layers, buffered, in the calling thread; rounds beside first-fit batches',
  async run(context) {
    const figures: Figure[] = [];
    const from = randomMapping(context.seed);
    for (const percent of [100, 10]) {
      const to = changedMapping(from, percent / 100, context.seed);
      figures.push(...(await planAll(from, to, `${percent} %`, context)));
    }
    return figures;
  },
};

async function planAll(
  from: ExpertMapping,
  to: ExpertMapping,
  changed: string,
  context: SuiteContext,
): Promise<Figure[]> {
  const { numRanks, numNodes, numLayers } = MAIN_SIZE;
  const id = `transfer/${sizeName(MAIN_SIZE)}/${changed} changed`;
  const time = async (name: string, options: { numNodes?: number; duplex?: 'half'; cost?: string }) => {
    const check = (plan: TransferPlan) => {
      assert.deepEqual(checkTransfer(plan, from, to), { status: 'valid' });
      if (options.duplex === undefined) assert.equal(plan.numRounds, plan.bounds.rounds);
    };
    const stats = await measure(
      context.limits,
      () => planTransfer(from, to, { numRanks, ...options }),
      check,
    );
    const plan = planTransfer(from, to, { numRanks, ...options });
    const sizes = [
      beside('rounds / bound', plan.numRounds / plan.bounds.rounds, 'x'),
      beside('shortest', stats.min, 'ms'),
    ];
    return sampled(`${id}/${name}`, 'ms', stats, sizes);
  };
  const plan = planTransfer(from, to, { numRanks });
  const firstFit = firstFitTransfer(from.phyToLog, to.phyToLog, numLayers, numRanks);
  assert.equal(firstFit.numTransfers, plan.numTransfers);
  return [
    await time('one node', {}),
    await time('four nodes, link model', { numNodes, cost: 'h200:deepseek-v3' }),
    await time('half duplex', { duplex: 'half' }),
    derived(`${id}/first-fit batches over rounds`, 'x', firstFit.length / plan.numRounds, [
      beside('in number', firstFit.batches / plan.numRounds, 'x'),
    ]),
  ];
}

/** Every expert once, and the redundant slots by chance. */
function randomMapping(seed: number): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = MAIN_SIZE;
  const random = new Random(seed, 'transfer from');
  const rows = Array.from({ length: numLayers }, () => {
    const experts = Array.from({ length: numPhysicalExperts }, (_, slot) =>
      slot < numLogicalExperts ? slot : random.below(numLogicalExperts),
    );
    return random.permutation(numPhysicalExperts).reduce<number[]>((row, place, slot) => {
      row[place] = experts[slot]!;
      return row;
    }, []);
  });
  return ExpertMapping.fromPhysicalToLogical(rows, numLogicalExperts);
}

/**
 * So many of each layer's slots hand their experts round among themselves, until all of them have changed.
 */
function changedMapping(from: ExpertMapping, share: number, seed: number): ExpertMapping {
  const { numLayers, numPhysicalExperts, numLogicalExperts } = MAIN_SIZE;
  const random = new Random(seed, `transfer to ${share}`);
  const count = Math.ceil(share * numPhysicalExperts);
  const table = from.phyToLog;
  const rows = Array.from({ length: numLayers }, (_, layer) => {
    const row = Array.from(table.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts));
    for (;;) {
      const slots = Array.from(random.permutation(numPhysicalExperts)).slice(0, count);
      const next = row.slice();
      for (const [i, slot] of slots.entries()) next[slot] = row[slots[(i + 1) % count]!]!;
      if (slots.every((slot) => next[slot] !== row[slot])) return next;
    }
  });
  return ExpertMapping.fromPhysicalToLogical(rows, numLogicalExperts);
}

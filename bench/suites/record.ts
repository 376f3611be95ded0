import { connectBalancer, ExpertLoadBalancer, type LoadRow, shareBalancer } from 'expert-load-balancer';
import { assertLoads } from '../check.ts';
import { StepFeed } from '../feed.ts';
import { type Figure, sampled } from '../figure.ts';
import { measurePart } from '../measure.ts';
import { scale } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE } from '../workloads.ts';

/** One call takes less than a clock can tell: a sample is the mean of this many rounds over all layers. */
const ROUNDS = 20;

const METHODS = ['recordLoad', 'recordLogicalLoad'] as const;
type Method = (typeof METHODS)[number];
type RowKind = 'Float32Array' | 'number[]';

/** Recording one layer's loads, validation included; every call is for another layer, as in a host. */
export const recordSuite: Suite = {
  name: 'record',
  title: 'Recording the loads of one layer, 58x256->288',
  async run(context) {
    const figures: Figure[] = [];
    // Typed arrays first: a host gives one kind of row, and a call site that has seen both is slower.
    for (const method of METHODS) figures.push(await record(method, 'Float32Array', context));
    figures.push(await recordConnected(context));
    for (const method of METHODS) figures.push(await record(method, 'number[]', context));
    return figures;
  },
};

/** As a thread of the host records that is not the balancer's: to shared memory, by atomic exchanges. */
async function recordConnected({ seed, limits }: SuiteContext): Promise<Figure> {
  const balancer = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize: 1 });
  const connected = await connectBalancer(shareBalancer(balancer));
  const { rows } = new StepFeed(balancer, 'physical', seed);
  const stats = await measurePart(
    limits,
    () => balancer.advanceWindow(),
    () => {
      for (let i = 0; i < ROUNDS * rows.length; i++) {
        const layer = i % rows.length;
        connected.recordLoad(layer, rows[layer]!);
      }
    },
    ROUNDS * rows.length,
  );
  balancer.advanceWindow();
  const id = `record/connected recordLoad ${rows[0]!.length}/Float32Array`;
  const expected = rows.flatMap((row) => Array.from(row, (load) => ROUNDS * load));
  assertLoads(balancer.getAverageLoad(), expected, id);
  connected.close();
  return sampled(id, 'us', scale(stats, 1000));
}

async function record(method: Method, kind: RowKind, { seed, limits }: SuiteContext): Promise<Figure> {
  const balancer = new ExpertLoadBalancer({ ...MAIN_SIZE, threads: 0, windowSize: 2 });
  const { rows } = new StepFeed(balancer, method === 'recordLoad' ? 'physical' : 'logical', seed);
  const given: LoadRow[] = rows.map((row) => (kind === 'Float32Array' ? row : Array.from(row)));
  const stats = await measurePart(
    limits,
    // A new step each time, so that the sums stay small and exact.
    () => balancer.advanceWindow(),
    method === 'recordLoad'
      ? () => {
          for (let i = 0; i < ROUNDS * given.length; i++) {
            const layer = i % given.length;
            balancer.recordLoad(layer, given[layer]!);
          }
        }
      : () => {
          for (let i = 0; i < ROUNDS * given.length; i++) {
            const layer = i % given.length;
            balancer.recordLogicalLoad(layer, given[layer]!);
          }
        },
    ROUNDS * given.length,
  );
  balancer.advanceWindow();
  const id = `record/${method} ${rows[0]!.length}/${kind}`;
  const average = method === 'recordLoad' ? balancer.getAverageLoad() : balancer.getAverageLogicalLoad();
  const expected = rows.flatMap((row) => Array.from(row, (load) => ROUNDS * load));
  assertLoads(average, expected, id);
  return sampled(id, 'us', scale(stats, 1000));
}

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import * as library from 'expert-load-balancer';
import * as formats from 'expert-load-balancer/formats';
import * as replays from 'expert-load-balancer/replay';
import { refusal } from '../helpers/library.ts';

const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
const balancer = new library.ExpertLoadBalancer({ ...sizes, threads: 0 });
after(() => balancer.close());
const weight = [[9, 1, 4, 2]];
const { mapping } = balancer;
const cost = library.costModel('h200:deepseek-v3');
const shape = { numLayers: 1, numExperts: 4, topK: 2 };
const source = replays.synthesize({ ...shape, numSteps: 4 });
const replayOptions = { numPhysicalExperts: 6, numRanks: 2, policy: 'static' } as const;
const result = await replays.replay(source, replayOptions);
const placement = formats.placementFrom(mapping);
const { port1 } = new MessageChannel();
after(() => port1.close());
const samples = { data: new Float32Array(4).fill(1), numSamples: 1, numLayers: 1, numExperts: 4 };
const asPolicy =
  (policy: library.DefaultEplbPolicy | library.LocalityAwarePolicy | library.AdaptiveEplbPolicy) =>
  (context: object) =>
    policy.rebalanceExperts(weight, 6, 1, 1, 2, context);

/** All that takes options: a call with options, one of them misspelt, and the name that was meant. */
const CALLS: Readonly<
  Record<string, readonly [run: (options: never) => unknown, wrong: object, meant: string]>
> = {
  ExpertLoadBalancer: [(o) => new library.ExpertLoadBalancer(o), { ...sizes, windowsize: 3 }, 'windowSize'],
  AsyncExpertRebalancer: [
    (o) => new library.AsyncExpertRebalancer(o),
    { balancer, interval: 1 },
    'rebalanceInterval',
  ],
  connectBalancer: [(o) => library.connectBalancer(port1, o), { timeoutMs: 5, timeoutMS: 5 }, 'timeoutMs'],
  CoactivationRecorder: [
    (o) => new library.CoactivationRecorder(o),
    { numLayers: 1, numExperts: 4, numExpert: 4 },
    'numExperts',
  ],
  AdaptiveEplbPolicy: [(o) => new library.AdaptiveEplbPolicy(o), { prise: 1 }, 'price'],
  'cost of AdaptiveEplbPolicy': [
    (o) => new library.AdaptiveEplbPolicy({ cost: o }),
    { bytesPerExperts: 1 },
    'bytesPerExpert',
  ],
  LocalityAwarePolicy: [(o) => new library.LocalityAwarePolicy(o), { tolerence: 1 }, 'tolerance'],
  ExpertMapping: [(o) => new library.ExpertMapping(o), { phyToLog: [[0]], logToPhys: [[[0]]] }, 'logToPhy'],
  plan: [(o) => balancer.plan(weight, o), { sample: samples }, 'samples'],
  'plan, with an option of rebalance': [(o) => balancer.plan(weight, o), { ifStale: 'keep' }, ''],
  decide: [(o) => balancer.decide(weight, o), { previuos: mapping }, 'previous'],
  rebalance: [(o) => balancer.rebalance(weight, o), { ifstale: 'keep' }, 'ifStale'],
  rebalanceSync: [(o) => balancer.rebalanceSync(weight, o), { ifstale: 'keep' }, 'ifStale'],
  'rebalanceSync, with a signal': [
    (o) => balancer.rebalanceSync(weight, o),
    { signal: AbortSignal.abort() },
    '',
  ],
  commit: [(o) => balancer.commit(mapping, o), { forced: true }, 'force'],
  'context of the default policy': [
    asPolicy(new library.DefaultEplbPolicy()),
    { previuos: mapping },
    'previous',
  ],
  'context of the locality policy': [
    asPolicy(new library.LocalityAwarePolicy()),
    { previuos: mapping },
    'previous',
  ],
  'context of the adaptive policy': [
    asPolicy(new library.AdaptiveEplbPolicy()),
    { previuos: mapping },
    'previous',
  ],
  planExperts: [
    (o) => new library.AdaptiveEplbPolicy().planExperts(samples, 6, 1, 1, 2, o),
    { slotPerRank: [3, 3] },
    'slotsPerRank',
  ],
  rankSeconds: [(o) => cost.rankSeconds([1], o), { rankSpeeds: [1] }, 'rankSpeed'],
  layerSeconds: [(o) => cost.layerSeconds([[1]], o), { rankSpeed: 1 }, 'rankSpeeds'],
  layerCosts: [(o) => library.layerCosts(weight, mapping, 2, cost, o), { numNode: 1 }, 'numNodes'],
  openRecording: [(o) => formats.openRecording('none', o), { experts: 64 }, 'numExperts'],
  openPlacement: [(o) => formats.openPlacement('none', o), { formats: 'sglang' }, 'format'],
  parsePlacement: [(o) => formats.parsePlacement(new Uint8Array(), o), { formats: 'sglang' }, 'format'],
  validatePlacement: [(o) => formats.validatePlacement(placement, o), { ranks: 2 }, 'numRanks'],
  writePlacement: [(o) => formats.writePlacement(placement, 'sglang', o), { ranks: 2 }, 'numRanks'],
  writeLoads: [
    (o) => formats.writeLoads('npy', o),
    { recording: source, from: 0, to: 1, onsteps: 1 },
    'onStep',
  ],
  replay: [(o) => replays.replay(source, o), { ...replayOptions, layerPerStep: 1 }, 'layersPerStep'],
  'steps of replay': [(o) => replays.replay(source, { ...replayOptions, steps: o }), { form: 1 }, 'from'],
  'trigger of replay': [
    (o) => replays.replay(source, { ...replayOptions, policy: new library.DefaultEplbPolicy(), trigger: o }),
    { interval: 1, loadTreshold: 2 },
    'loadThreshold',
  ],
  inspect: [(o) => replays.inspect(source, o), { hottest: 2 }, 'numHottest'],
  synthesize: [replays.synthesize, { ...shape, steps: 4 }, 'numSteps'],
  SyntheticLoads: [(o) => new replays.SyntheticLoads(o), { ...shape, steps: 4 }, 'numSteps'],
  hardwareCost: [(o) => replays.hardwareCost('deepseek-v3', o), { ...replays.H100, reach: 1 }, 'reached'],
  replayReport: [(o) => replays.replayReport([result], source, o), { paths: 'x' }, 'path'],
};

for (const [name, [run, wrong, meant]] of Object.entries(CALLS)) {
  const hint = meant === '' ? 'there are ' : `did you mean ${meant}\\?`;
  const wanted = refusal('type', 'EPLB_OPTION', new RegExp(`^\\w+: there is no option "\\w+"; ${hint}`));
  test(`${name} refuses an option that it does not have`, async () => {
    await assert.rejects(async () => run(wrong as never), wanted);
    // Undefined is as left out.
    const left = Object.fromEntries(
      Object.entries(wrong).map(([key, value], i, all) => [key, i === all.length - 1 ? undefined : value]),
    );
    try {
      await run(left as never);
    } catch (error) {
      assert.notEqual((error as library.EplbError).code, 'EPLB_OPTION', String(error));
    }
  });
}

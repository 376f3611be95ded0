import { test } from 'node:test';
import * as library from 'expert-load-balancer';
import fc from 'fast-check';
import { hostileValue, loadMatrix, loadRow, loadSamples, nearly, nearlyObject } from '../helpers/hostile.ts';
import { stateOf } from '../helpers/library.ts';
import { assertAllCoded, type Call, NUM_RUNS } from '../helpers/surface.ts';

const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 } as const;
const rows = [
  [0, 1, 2, 3, 0, 1],
  [3, 2, 1, 0, 3, 3],
];
const mapping = library.ExpertMapping.fromPhysicalToLogical(rows);
const layer = fc.constantFrom(0, 1);
const whole = fc.constantFrom(1, 2, 4, 6);
const balance = nearlyObject({ maxRankLoad: fc.nat(9), meanRankLoad: fc.nat(9), minRankLoad: fc.nat(9) });
const slotCost = library.costModel('h200:deepseek-v3');
const rankTime = nearlyObject({
  tokensReceived: fc.constantFrom<unknown>(5, { interNode: 2 }),
  rankSpeed: fc.constant(2),
});
const costInit = nearlyObject({
  name: fc.string(),
  fixedSeconds: fc.constant(1e-6),
  slotSeconds: fc.oneof(
    nearlyObject({
      idle: fc.constant(0),
      floor: fc.constant(1e-6),
      perToken: fc.constant(1e-9),
      tile: whole,
    }),
    nearlyObject({ tokens: nearly(fc.constant([1, 2])), seconds: nearly(fc.constant([1, 2])) }),
  ),
  links: nearlyObject({ intraNode: nearlyObject({ bytesPerSecond: fc.constant(1e9) }) }),
  moves: nearlyObject({ secondsPerRound: fc.constant(1), bandwidthShare: fc.constant(0.5) }),
});
const layerCost = nearlyObject({
  ...{ seconds: fc.constant(2), secondsAtBalance: fc.constant(1), meanActiveExperts: fc.nat(9) },
  maxActiveExperts: fc.nat(9),
  slowest: nearlyObject({ fixedSeconds: fc.nat(9), activeSeconds: fc.nat(9), tokenSeconds: fc.nat(9) }),
});
const mappings = nearly(fc.constant(mapping));
const transferOptions = nearlyObject(
  {
    ...{ numRanks: fc.constantFrom(1, 2, 3), numNodes: fc.constant(1), relay: fc.boolean() },
    topology: fc.constant({ ...sizes, numNodes: 1, numGroups: 1 }),
    ...{ mode: fc.constantFrom('buffered', 'inPlace'), staging: fc.constantFrom(0, 1, 2) },
    ...{ duplex: fc.constantFrom('full', 'half'), schedule: fc.constantFrom('auto', 'rounds', 'batch') },
    ...{ deadRanks: fc.constantFrom([], [1]), maxBytesInFlight: fc.constantFrom(10, 20, 100) },
    ...{
      bytesPerExpert: fc.constant(10),
      bundle: nearly(fc.constant([{ name: 'w', bytes: 10 }])),
      cost: costInit,
    },
    linkClasses: nearly(
      fc.constant([
        ['intraNode', 'intraNode'],
        ['intraNode', 'intraNode'],
      ]),
    ),
    linkCosts: nearly(
      fc.constant([
        [0, 1],
        [1, 0],
      ]),
    ),
    gains: nearly(fc.constant([1, 2])),
  },
  ['numRanks'],
);
const moved = library.ExpertMapping.fromPhysicalToLogical(rows.toReversed());
const transferPlan = library.planTransfer(mapping, moved, { numRanks: 2 });
const transferFields = Object.fromEntries(
  Object.entries(transferPlan.toJSON()).map(([name, value]) => [name, fc.constant(value as unknown)]),
);
const bytes = fc.oneof(
  fc.constant(mapping.toBytes()),
  fc.uint8Array({ maxLength: 64 }),
  fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
    const out = mapping.toBytes();
    out[at % out.length] = byte;
    return out;
  }),
);
const mappingInit = nearlyObject({
  phyToLog: fc.constantFrom<unknown>(rows, Int32Array.from(rows.flat())),
  numLayers: fc.constant(2),
  numLogicalExperts: fc.constant(4),
  replicaCount: fc.constant([
    [2, 2, 1, 1],
    [1, 1, 1, 3],
  ]),
  logToPhy: fc.constant(mapping.toJSON().logToPhy),
});
const context = nearlyObject({
  previous: fc.constant(mapping),
  samples: loadSamples(2, 4),
  slotsPerRank: fc.constantFrom([3, 3], [3, 2], [2, 2]),
  coactivation: fc.constant({ data: new Float32Array(32).fill(1), numLayers: 2, numExperts: 4 }),
});
const planOptions = nearlyObject({
  previous: fc.constant(mapping),
  samples: loadSamples(2, 4),
  coactivation: fc.constant({ data: new Float32Array(32).fill(1), numLayers: 2, numExperts: 4 }),
  signal: fc
    .constantFrom<() => AbortSignal>(
      () => new AbortController().signal,
      () => AbortSignal.abort(),
    )
    .map((make) => make()),
  ifStale: fc.constantFrom('replan', 'keep'),
});
const cost = nearlyObject({
  secondsPerLoad: fc.constant(1e-6),
  stepsPerPlan: fc.constant(10),
  bytesPerExpert: fc.constant(1e6),
  bandwidthWithinNode: fc.constant(1e9),
  bandwidthBetweenNodes: fc.constant(1e8),
  secondsAtBalance: fc.constant(1e-3),
});
const adaptiveOptions = nearlyObject({
  ...{ price: fc.constantFrom(0, 0.002), maxMoves: fc.nat(9), maxMovesPerLayer: fc.nat(9), cost },
  ...{
    maxBytes: fc.constantFrom(0, 1e7),
    maxEvaluations: fc.integer({ min: 1, max: 1000 }),
    numKicks: fc.nat(5),
    effort: fc.constantFrom('quick', 'usual', 'thorough'),
  },
  ...{ locality: fc.constantFrom('none', 'groups'), confidence: fc.nat(3), rememberedSteps: fc.nat(9) },
  maxSamples: fc.integer({ min: 1, max: 9 }),
});
const policyOf = fc
  .tuple(fc.nat(2), nearly(fc.constant({}), 20), adaptiveOptions)
  .map(([kind, options, adaptive]) => {
    if (kind === 0) return () => new library.DefaultEplbPolicy();
    if (kind === 1) return () => new library.LocalityAwarePolicy(options as never);
    return () => new library.AdaptiveEplbPolicy(adaptive as never);
  });
const balancerOptions = nearlyObject(
  {
    numLayers: fc.constant(2),
    numLogicalExperts: fc.constant(4),
    numPhysicalExperts: fc.constant(6),
    numRanks: fc.constant(2),
    numNodes: fc.constantFrom(1, 2),
    numGroups: fc.constantFrom(1, 2),
    slotsPerRank: fc.constantFrom([3, 3], [3, 2]),
    policy: fc.constant(new library.AdaptiveEplbPolicy()),
    windowSize: whole,
    threads: fc.constantFrom(0, 1),
  },
  ['numLayers', 'numLogicalExperts', 'numPhysicalExperts', 'numRanks'],
);

/** Snapshots of balancers of other policies and windows, which most do not fit. */
const [emptySnapshot, fullSnapshot] = [0, 1].map((numSteps) => {
  const balancer = new library.ExpertLoadBalancer({ ...sizes, threads: 0, windowSize: 4 });
  for (let step = 0; step < numSteps; step++) {
    balancer.recordLogicalLoad(0, [1, 2, 3, 4]);
    balancer.advanceWindow();
    balancer.rebalanceSync();
  }
  return balancer.snapshot();
});

/** Functions that keep nothing. */
const FUNCTIONS: readonly Call[] = [
  ['balancedness', [balance], library.balancedness],
  ['peakToAverage', [balance], library.peakToAverage],
  ['summarizeBalance', [nearly(fc.array(balance, { maxLength: 3 }))], library.summarizeBalance],
  [
    'costModel',
    [nearly(fc.oneof(costInit, fc.constantFrom('h200:deepseek-v3', 'b200:kimi-k2:int4')))],
    library.costModel,
  ],
  [
    'rankSeconds',
    [nearly(loadRow(6)), rankTime],
    (...args: never[]) => slotCost.rankSeconds(...(args as unknown as [never])),
  ],
  [
    'layerSeconds',
    [
      nearly(fc.array(loadRow(3), { maxLength: 3 })),
      nearlyObject({
        tokensReceived: fc.constantFrom<unknown>('even', [1, 2]),
        rankSpeeds: fc.constant([1, 2]),
      }),
    ],
    (...args: never[]) => slotCost.layerSeconds(...(args as unknown as [never])),
  ],
  [
    'moveSeconds',
    [nearly(fc.nat()), nearly(fc.constant('intraNode')), nearly(whole)],
    (...args: never[]) => slotCost.moveSeconds(...(args as unknown as [never])),
  ],
  [
    'layerCosts',
    [
      nearly(loadMatrix(2, 4)),
      mappings,
      nearly(whole),
      nearly(fc.constant(slotCost)),
      nearlyObject({ exchange: fc.constantFrom('none', 'even'), numNodes: fc.constantFrom(1, 2) }),
    ],
    library.layerCosts,
  ],
  [
    'planTransfer',
    [mappings, nearly(fc.constantFrom<unknown>(moved, { phyToLog: rows.toReversed() })), transferOptions],
    (...args: Parameters<typeof library.planTransfer>) => {
      const plan = library.planTransfer(...args);
      return library.checkTransfer(plan, args[0], args[1]);
    },
  ],
  [
    'checkTransfer',
    [nearly(fc.constant(transferPlan)), mappings, nearly(fc.constant(moved))],
    library.checkTransfer,
  ],
  [
    'TransferPlan.fromJSON',
    [nearlyObject(transferFields, Object.keys(transferFields))],
    library.TransferPlan.fromJSON,
  ],
  ['TransferPlan.fromBytes', [nearly(fc.constant(transferPlan.toBytes()))], library.TransferPlan.fromBytes],
  ['summarizeCost', [nearly(fc.array(layerCost, { maxLength: 3 }))], library.summarizeCost],
  ['layerBalances', [nearly(loadMatrix(2, 4)), mappings, nearly(whole)], library.layerBalances],
  ['computeBalancedPacking', [nearly(loadMatrix(2, 4)), nearly(whole)], library.computeBalancedPacking],
  ['computeExpertReplication', [nearly(loadMatrix(2, 4)), nearly(whole)], library.computeExpertReplication],
  ['computeLoadImbalance', [nearly(fc.oneof(loadRow(4), loadMatrix(2, 4)))], library.computeLoadImbalance],
  ['new ExpertMapping', [mappingInit], (init) => new library.ExpertMapping(init)],
  ['ExpertMapping.fromJSON', [mappingInit], library.ExpertMapping.fromJSON],
  ['ExpertMapping.fromBytes', [nearly(bytes)], library.ExpertMapping.fromBytes],
  [
    'ExpertMapping.fromPhysicalToLogical',
    [nearly(fc.constant(rows)), nearly(fc.constant(4))],
    library.ExpertMapping.fromPhysicalToLogical,
  ],
  [
    'reading a mapping',
    [nearly(layer), nearly(whole), mappings],
    (index: number, id: number, other: library.ExpertMapping) => {
      mapping.getPhysicalExperts(index, id);
      mapping.getLogicalExpert(index, id);
      mapping.movesFrom(other, id);
      mapping.equals(other);
    },
  ],
  [
    'rebalanceExperts',
    [
      policyOf,
      nearly(loadMatrix(2, 4)),
      nearly(fc.constant(6)),
      nearly(whole),
      nearly(whole),
      nearly(whole),
      context,
    ],
    (
      make: () => library.AbstractEplbPolicy,
      ...args: Parameters<library.AbstractEplbPolicy['rebalanceExperts']>
    ) => make().rebalanceExperts(...args),
  ],
  [
    'planExperts',
    [
      adaptiveOptions,
      nearly(loadSamples(2, 4)),
      nearly(fc.constant(6)),
      nearly(whole),
      nearly(whole),
      nearly(whole),
      context,
    ],
    (options: object, ...args: Parameters<library.AdaptiveEplbPolicy['planExperts']>) =>
      new library.AdaptiveEplbPolicy(options).planExperts(...args),
  ],
  [
    'CoactivationRecorder',
    [
      nearlyObject({ numLayers: fc.constant(2), numExperts: fc.constant(4) }, ['numLayers', 'numExperts']),
      nearly(fc.uint8Array({ minLength: 8, maxLength: 8, max: 4 })),
      nearly(fc.constant(2)),
      nearly(fc.constant(2)),
    ],
    (options: never, ...args: Parameters<library.CoactivationRecorder['record']>) => {
      const recorder = new library.CoactivationRecorder(options);
      recorder.record(...args);
      recorder.matrix();
    },
  ],
  [
    'new ExpertLoadBalancer',
    [balancerOptions],
    async (options: never) => {
      await using balancer = new library.ExpertLoadBalancer(options);
      balancer.recordLogicalLoad(0, [9, 1, 1, 1]);
      balancer.advanceWindow();
      await balancer.rebalance();
    },
  ],
  ['shareBalancer', [hostileValue], (value: never) => library.shareBalancer(value).close()],
  [
    'connectBalancer',
    [hostileValue, nearlyObject({ timeoutMs: fc.constant(1) })],
    (port: never, options: never) => library.connectBalancer(port, options),
  ],
];

/** Methods of a balancer, which is what it was after any that fails. */
const METHODS: readonly Call[] = [
  [
    'recordLoad',
    [nearly(layer), nearly(loadRow(6))],
    (...args: never[]) => subject.recordLoad(...(args as unknown as [0, []])),
  ],
  [
    'recordLogicalLoad',
    [nearly(layer), nearly(loadRow(4))],
    (...args: never[]) => subject.recordLogicalLoad(...(args as unknown as [0, []])),
  ],
  ['advanceWindow', [], () => subject.advanceWindow()],
  ['metrics', [], () => [subject.metrics(), subject.getAverageLoad(), subject.getAverageLogicalLoad()]],
  [
    'rebalanceSync',
    [nearly(loadMatrix(2, 4)), planOptions],
    (...args: never[]) => subject.rebalanceSync(...args),
  ],
  ['rebalance', [nearly(loadMatrix(2, 4)), planOptions], (...args: never[]) => subject.rebalance(...args)],
  ['plan', [nearly(loadMatrix(2, 4)), planOptions], (...args: never[]) => subject.plan(...args)],
  ['decide', [nearly(loadMatrix(2, 4)), planOptions], (...args: never[]) => subject.decide(...args)],
  [
    'commit',
    [mappings, nearlyObject({ from: fc.nat(3), force: fc.boolean() })],
    (...args: never[]) => subject.commit(...(args as unknown as [library.ExpertMapping])),
  ],
  ['snapshot', [], () => subject.snapshot()],
  [
    'restore',
    [nearly(fc.constantFrom(emptySnapshot, fullSnapshot))],
    (snapshot: Uint8Array) => subject.restore(snapshot),
  ],
  [
    'AsyncExpertRebalancer',
    [
      nearlyObject(
        { rebalanceInterval: fc.constant(1), loadThreshold: fc.constant(1), autoCommit: fc.boolean() },
        [],
      ),
    ],
    async (options: object) => {
      const given =
        typeof options === 'object' && options !== null ? { balancer: subject, ...options } : options;
      const rebalancer = new library.AsyncExpertRebalancer(given);
      rebalancer.start();
      rebalancer.shouldRebalance();
      await rebalancer.rebalanceAsync();
      rebalancer.getPendingMapping();
      await rebalancer.stop();
    },
  ],
];

let subject = new library.ExpertLoadBalancer({ ...sizes, threads: 0, windowSize: 4 });

test('functions refuse what they cannot take with a code, and end', () =>
  assertAllCoded(FUNCTIONS, NUM_RUNS));

test('a balancer is what it was after any call that fails', async () => {
  for (const threads of [0, 1]) {
    for (const policy of [
      new library.DefaultEplbPolicy(),
      new library.AdaptiveEplbPolicy(),
      new library.LocalityAwarePolicy(),
    ]) {
      await subject.close();
      subject = new library.ExpertLoadBalancer({ ...sizes, threads, policy, windowSize: 4, numNodes: 2 });
      await assertAllCoded(METHODS, Math.ceil(NUM_RUNS / 6), () => stateOf(subject));
    }
  }
  await subject.close();
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AdaptiveEplbPolicy, DefaultEplbPolicy, ExpertMapping, planTransfer } from 'expert-load-balancer';
import * as formats from 'expert-load-balancer/formats';
import * as replays from 'expert-load-balancer/replay';
import { renderReport, renderTransferReport } from 'expert-load-balancer/report';
import fc from 'fast-check';
import { hostileValue, nearly, nearlyObject } from '../helpers/hostile.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';
import { npyFile } from '../helpers/npy.ts';
import { assertAllCoded, type Call, NUM_RUNS } from '../helpers/surface.ts';

const directory = mkdtempSync(join(tmpdir(), 'eplb-surface-'));
after(() => rmSync(directory, { recursive: true }));
const inDirectory = (name: string, content: string | Uint8Array) => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};
const loadsFile = inDirectory(
  'loads.json',
  JSON.stringify({
    logical_count: [
      [
        [9, 1, 4, 2],
        [1, 2, 3, 4],
      ],
    ],
  }),
);
const placementFile = inDirectory(
  'placement.json',
  JSON.stringify({ physical_to_logical_map: [[0, 1, 2, 3, 0, 1]] }),
);
const routesFile = inDirectory(
  'routes.npy',
  npyFile({ descr: '|u1', shape: [4, 2, 2], values: [0, 1, 1, 2, 0, 3, 2, 1, 0, 1, 1, 3, 2, 3, 0, 1] }),
);
const brokenFile = inDirectory('broken.npy', 'no array');

const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3, 0, 1]]);
const placement = formats.placementFrom(mapping, { numRanks: 2 });
const report = {
  kind: 'replay-report',
  formatVersion: 2,
  versions: { package: '1.0.0', node: 'v20.0.0', platform: 'linux x64' },
  recording: {
    ...{ path: 'loads.npy', format: 'npy', numLayers: 1, numLogicalExperts: 4, notes: [] },
    steps: { from: 0, to: null },
  },
  replays: [
    await replays.replay(memoryRecording([[[9, 1, 4, 2]], [[1, 2, 3, 9]], [[5, 5, 5, 5]]]), {
      ...{ numPhysicalExperts: 6, numRanks: 2, policy: new DefaultEplbPolicy() },
      ...{ trigger: { interval: 1 }, planningSeconds: 0 },
    }),
  ],
};
/** The report with one of its fields, at any depth, replaced. */
const damagedReport = fc
  .tuple(fc.array(fc.nat(), { minLength: 1, maxLength: 6 }), hostileValue)
  .map(([way, value]) => {
    const damaged = structuredClone(report);
    let at = damaged as unknown as Record<string, unknown>;
    for (const [depth, n] of way.entries()) {
      const keys = Object.keys(at);
      const key = keys[n % keys.length]!;
      const next = at[key];
      const isLast = depth === way.length - 1 || typeof next !== 'object' || next === null;
      if (isLast || Object.keys(next).length === 0) {
        at[key] = value;
        break;
      }
      at = next as Record<string, unknown>;
    }
    return damaged;
  });
const paths = nearly(
  fc.constantFrom(loadsFile, placementFile, routesFile, brokenFile, directory, join(directory, 'none')),
);
const formatName = nearly(
  fc.constantFrom('sglang', 'vllm-ascend', 'tensorrt-llm', 'omni-infer', 'npy', 'npz', 'json', 'json-lines'),
);
const placements = nearlyObject(
  {
    format: fc.constant('sglang'),
    numLayers: fc.constant(1),
    numPhysicalExperts: fc.constant(6),
    numLogicalExperts: fc.constant(4),
    slots: fc.constant(placement.slots),
    numRanks: fc.constantFrom(1, 2, 3),
    layerNumbers: fc.constantFrom([0], [3]),
    logToPhy: fc.constant(placement.logToPhy),
    replicaCount: fc.constant(mapping.replicaCount),
    notes: fc.constant([]),
  },
  ['format', 'numLayers', 'numPhysicalExperts', 'numLogicalExperts', 'slots', 'notes'],
);
const openOptions = nearlyObject({
  format: formatName,
  numExperts: fc.constantFrom(2, 4, 6),
  tokensPerStep: fc.constantFrom(1, 2),
  denseRows: fc.constantFrom(0, 1),
  field: fc.constant('--from'),
});
const range = nearlyObject({ from: fc.nat(3), to: fc.nat(4) });
const source = nearly(
  fc.constant(memoryRecording([[[9, 1, 4, 2]], [[1, 2, 3, 9]], [[5, 5, 5, 5]], [[0, 0, 0, 0]]])),
);
const cost = nearlyObject(constants(replays.COMPETITION));
const replayOptions = nearlyObject(
  {
    numPhysicalExperts: fc.constantFrom(4, 6),
    numRanks: fc.constant(2),
    numNodes: fc.constantFrom(1, 2),
    numGroups: fc.constantFrom(1, 2),
    slotsPerRank: fc.constantFrom([3, 3], [3, 2]),
    policy: fc.constantFrom<unknown>('static', new DefaultEplbPolicy(), new AdaptiveEplbPolicy()),
    policyName: fc.constant('mine'),
    name: fc.constant('mine'),
    windowSize: fc.constantFrom(1, 2),
    trigger: nearlyObject({
      interval: fc.constantFrom(1, 2),
      loadThreshold: fc.constant(1.5),
      drift: fc.constant(0.1),
      require: fc.constantFrom('any', 'all'),
      checkEvery: fc.constant(1),
    }),
    planningSeconds: fc.constantFrom(0, 'measured'),
    layersPerStep: fc.constant(1),
    cost,
    start: fc.constant(mapping),
    steps: range,
    threads: fc.constant(0),
    onStep: fc.constant(() => true),
  },
  ['numPhysicalExperts', 'numRanks', 'policy', 'planningSeconds'],
);
const synthOptions = nearlyObject({
  ...constants({
    numLayers: 1,
    numExperts: 4,
    topK: 2,
    numSteps: 3,
    tokensPerStep: 8,
    seed: 1,
    burstGain: 8,
  }),
  ...{ skew: fc.constantFrom(0, 1), burst: fc.constantFrom(0, 0.5), drift: fc.constantFrom(0, 0.1) },
  ...{ domains: fc.constantFrom(1, 2), blendSteps: fc.nat(2) },
});
const sizes = nearlyObject(
  constants({ numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 }),
);

/** An arbitrary for each field, of its value alone. */
function constants(fields: object): Record<string, fc.Arbitrary<unknown>> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, fc.constant<unknown>(value)]),
  );
}

async function drain(values: AsyncIterable<unknown>): Promise<void> {
  let left = 10;
  for await (const _ of values) if (--left === 0) break;
}

const FORMATS: readonly Call[] = [
  [
    'openRecording',
    [paths, openOptions, range],
    async (path: string, options: object, steps: object) => {
      const recording = await formats.openRecording(path, options);
      try {
        await drain(recording.steps(steps));
      } finally {
        await recording.close();
      }
    },
  ],
  ['openPlacement', [paths, openOptions], formats.openPlacement],
  ['parsePlacement', [nearly(fc.uint8Array({ maxLength: 64 })), openOptions], formats.parsePlacement],
  ['mappingOf', [placements], formats.mappingOf],
  [
    'placementFrom',
    [nearly(fc.constant(mapping)), nearlyObject({ numRanks: fc.constant(2) })],
    formats.placementFrom,
  ],
  ['validatePlacement', [placements, nearlyObject({ numRanks: fc.constant(2) })], formats.validatePlacement],
  [
    'writePlacement',
    [placements, formatName, nearlyObject({ numRanks: fc.constant(2), firstLayer: fc.constant(3) })],
    formats.writePlacement,
  ],
  [
    'writeLoads',
    [
      formatName,
      nearlyObject({ ...constants({ from: 0, to: 2 }), recording: source }, ['from', 'to', 'recording']),
    ],
    (format: string, steps: never) => drain(formats.writeLoads(format, steps).chunks),
  ],
];

const SIMULATOR: readonly Call[] = [
  ['replay', [source, replayOptions], replays.replay],
  ['inspect', [source, nearlyObject(constants({ numRanks: 2, topK: 2 }))], replays.inspect],
  [
    'synthesize',
    [synthOptions, range],
    (options: never, steps: object) => drain(replays.synthesize(options).steps(steps)),
  ],
  ['checkCostModel', [nearly(fc.constant('cost')), cost], replays.checkCostModel],
  [
    'hardwareCost',
    [nearly(fc.constantFrom('deepseek-v3', 'none')), nearlyObject(constants(replays.H100))],
    replays.hardwareCost,
  ],
  ['costPreset', [nearly(fc.constantFrom('competition', 'deepseek-v3', 'none'))], replays.costPreset],
  ['competitionStart', [sizes], replays.competitionStart],
  ['modelShape', [nearly(fc.constantFrom('deepseek-v3', 'none'))], replays.modelShape],
  ['shapeLike', [sizes], replays.shapeLike],
  ['bytesPerExpert', [nearly(fc.constantFrom(...replays.MODEL_SHAPES))], replays.bytesPerExpert],
  ['flopsPerLoad', [nearly(fc.constantFrom(...replays.MODEL_SHAPES))], replays.flopsPerLoad],
  [
    'samplingNoisePeak',
    [nearly(fc.constantFrom(1, 8)), nearly(fc.constantFrom(0, 100)), nearly(fc.nat(9))],
    replays.samplingNoisePeak,
  ],
  ['renderReport', [nearly(fc.oneof(fc.constant(report), damagedReport))], renderReport],
  [
    'renderTransferReport',
    [
      nearly(fc.constant(planTransfer(mapping, mapping, { numRanks: 2 }))),
      nearlyObject(constants({ from: 'now.json', to: 'next.json', notes: ['a note'] })),
    ],
    renderTransferReport,
  ],
];

test('readers and writers refuse what they cannot take with a code, and end', () =>
  assertAllCoded(FORMATS, Math.ceil(NUM_RUNS / 2)));

test('the simulator and the report refuse what they cannot take with a code, and end', () =>
  assertAllCoded(SIMULATOR, Math.ceil(NUM_RUNS / 2)));

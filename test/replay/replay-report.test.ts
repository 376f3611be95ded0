import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import {
  replay,
  replayReport,
  SYNTH_DEFAULTS,
  SyntheticLoads,
  synthesize,
} from 'expert-load-balancer/replay';
import { renderReport } from 'expert-load-balancer/report';
import { refusal } from '../helpers/library.ts';
import { memoryRecording } from '../helpers/memory-recording.ts';

const shape = { numLayers: 2, numExperts: 4, topK: 2 };
const options = { numPhysicalExperts: 6, numRanks: 2, planningSeconds: 0, trigger: { interval: 8 } };

/** As a host's own classes are: what is asked of them is a getter of their prototype. */
class Recording {
  readonly #loads = synthesize({ ...shape, numSteps: 40 });
  get numLayers() {
    return this.#loads.numLayers;
  }
  get numLogicalExperts() {
    return this.#loads.numLogicalExperts;
  }
  get format() {
    return 'mine';
  }
  get notes() {
    return ['made up'];
  }
  get numSteps() {
    return 40;
  }
  steps(range?: { from?: number; to?: number }) {
    return this.#loads.steps(range);
  }
}

class Options {
  get numLayers() {
    return 2;
  }
  get numExperts() {
    return 4;
  }
  get topK() {
    return 2;
  }
  get numSteps() {
    return 3;
  }
  get skew() {
    return 0;
  }
}

class Trigger {
  get interval() {
    return 8;
  }
}

test('results of a recording of getters make a report, which is drawn', async () => {
  const recording = new Recording();
  const result = await replay(recording, {
    ...options,
    policy: new DefaultEplbPolicy(),
    trigger: new Trigger(),
    steps: { from: 8 },
  });
  assert.deepEqual(result.configuration.trigger, { interval: 8 });
  const report = replayReport([result, { ...result, name: 'again' }], recording, {
    path: 'loads.npy',
    steps: { from: 8 },
  });
  assert.deepEqual(report.recording, {
    ...{ path: 'loads.npy', format: 'mine', numLayers: 2, numLogicalExperts: 4 },
    ...{ steps: { from: 8, to: 40 }, notes: ['made up'], tokensPerStep: null },
  });
  assert.equal(report.versions.node, process.version);
  assert.match(report.versions.package, /^\d+\.\d+\.\d+$/);
  assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
  const page = await renderReport(report);
  assert.match(page, /<title>Expert load balance of loads\.npy<\/title>/);
});

test('a recording that tells nothing of itself but its loads will do', async () => {
  const recording = memoryRecording([[[9, 1, 4, 2]], [[1, 2, 3, 9]]]);
  const result = await replay(recording, { numPhysicalExperts: 6, numRanks: 2, policy: 'static' });
  const { numLayers, numLogicalExperts } = recording;
  const steps = recording.steps.bind(recording);
  const { recording: facts } = replayReport([result], { numLayers, numLogicalExperts, steps });
  assert.deepEqual(
    [facts.path, facts.format, facts.steps, facts.notes],
    ['a recording', 'loads', { from: 0, to: null }, []],
  );
});

test('what is not a list of results, or not a report, is refused', async () => {
  const recording = synthesize({ ...shape, numSteps: 4 });
  const result = await replay(recording, { numPhysicalExperts: 6, numRanks: 2, policy: 'static' });
  const kind = (message: RegExp) => refusal('type', 'EPLB_KIND', message);
  assert.throws(() => replayReport(result as never, recording), kind(/^results: an Object is not a list/));
  assert.throws(
    () => replayReport([{}] as never, recording),
    kind(/^results\[0\]: .* is not what replay\(\) gives/),
  );
  assert.throws(() => replayReport([], recording), refusal('range', 'EPLB_SHAPE', /^results: there is none/));
  assert.throws(() => replayReport([result], undefined as never), kind(/^recording: undefined/));
  await assert.rejects(renderReport(result as never), kind(/^report: .*replayReport\(\) makes one/));
  const wrong = { ...replayReport([result], recording), replays: [1] };
  await assert.rejects(renderReport(wrong as never), kind(/^report\.replays\[0\]: 1 is not what replay/));
});

test('options of synthesize may be its defaults, those of another one, or getters', () => {
  const byDefault = synthesize({ ...SYNTH_DEFAULTS, ...shape });
  assert.deepEqual(byDefault.options, { ...shape, ...SYNTH_DEFAULTS });
  assert.deepEqual(synthesize(byDefault.options).options, byDefault.options);
  assert.deepEqual(new SyntheticLoads(shape).options, byDefault.options);
  assert.deepEqual(synthesize(new Options()).options, { ...byDefault.options, numSteps: 3, skew: 0 });
  assert.throws(() => new SyntheticLoads({} as never), refusal('type', 'EPLB_KIND', /^numLayers/));
});

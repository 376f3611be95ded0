// A host's event loop for some seconds: idle, while loads are recorded, or while a rebalancer also plans
// without a pause; then before and after it the same turns without the library, as often. The loads [layers x
// physical] of a step come on stdin.
import { readFileSync } from 'node:fs';
import { MessagePort, Worker } from 'node:worker_threads';
import { ArrivalProbe } from './arrival-probe.mjs';
import { CallTimes, timeMethod } from './call-times.mjs';

const { topology, windowSize, mode, seconds } = JSON.parse(process.argv[2]);
const { numLayers, numPhysicalExperts } = topology;
const loads = new Float32Array(Uint8Array.from(readFileSync(0)).buffer);
const rows = Array.from({ length: numLayers }, (_, layer) =>
  loads.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts),
);
/** The loads wander over the layers, so that every plan has something to change. */
const STEPS_PER_SHIFT = 50;
const TURNS_PER_AVERAGE = 10;
/**
 * What takes about 50 us anyhow: its longest run is the machine's doing. It does not look at the clock, which
 * makes garbage.
 */
const LOOP_ROUNDS = 10_000;
let loopState = 1;
const WARM_UP_MS = 500;
/** About what a plan takes in its thread. */
const BARE_PLAN_MS = 0.3;

const KINDS = [
  ...['timer', 'plan', 'answer', 'commit', 'recordLoad', 'advanceWindow', 'getAverageLoad', 'loop'],
  ...['bareTimer', 'bareAnswer', 'bareCopy', 'bareLoop'],
];
const makeTimes = () => Object.fromEntries(KINDS.map((kind) => [kind, new CallTimes()]));
let times = makeTimes();
const note = (kind, start) => times[kind].add(performance.now() - start);
/** Looks its times up anew each call: those of the warm-up are dropped. */
const into = (kind) => ({ add: (ms) => times[kind].add(ms) });

/** Times a callback of the event loop and all the promises' reactions that it sets off. */
function timeCallback(kind, callback) {
  return (...args) => {
    const start = performance.now();
    // A tick asked for by a reaction runs when no reaction is left.
    queueMicrotask(() => process.nextTick(() => note(kind, start)));
    callback(...args);
  };
}

/** Stands for a plan where there is no library: keeps its core busy. Made before ports are wrapped. */
const busyWorker =
  mode === 'plan' && new Worker(new URL('busy-port.mjs', import.meta.url), { workerData: BARE_PLAN_MS });

// The library's own turns of the loop: its timer, and the answer of a worker.
const { setTimeout: realSetTimeout } = globalThis;
globalThis.setTimeout = (callback, ...rest) => realSetTimeout(timeCallback('timer', callback), ...rest);
const { on } = MessagePort.prototype;
MessagePort.prototype.on = function (event, listener) {
  return on.call(this, event, event === 'message' ? timeCallback('answer', listener) : listener);
};

const { AsyncExpertRebalancer, ExpertLoadBalancer } = await import('expert-load-balancer');
const balancer = new ExpertLoadBalancer({ ...topology, windowSize, threads: 1 });
for (const name of ['plan', 'commit', 'advanceWindow', 'getAverageLoad'])
  timeMethod(balancer, name, into(name));

let steps = 0;
let turns = 0;
function recordStep() {
  const shift = Math.floor(steps++ / STEPS_PER_SHIFT);
  const start = performance.now();
  for (let layer = 0; layer < numLayers; layer++)
    balancer.recordLoad(layer, rows[(layer + shift) % numLayers]);
  note('recordLoad', start);
  balancer.advanceWindow();
  if (turns % TURNS_PER_AVERAGE === 0) balancer.getAverageLoad();
}

function compute() {
  for (let round = 0; round < LOOP_ROUNDS; round++) loopState = (Math.imul(loopState, 1_664_525) + 1) | 0;
}

function timed(kind, work) {
  const start = performance.now();
  work();
  note(kind, start);
}

/** A turn of a host that does as much without the library: as long, and as much garbage. */
const bareLoads = new Float32Array(new SharedArrayBuffer(loads.byteLength));
function bareTurn() {
  timed('bareLoop', compute);
  if (turns % TURNS_PER_AVERAGE !== 0) return;
  timed('bareCopy', () => {
    compute();
    loopState ^= new Float32Array(bareLoads).length;
  });
}

/** Timer, thread and answer as a rebalancer has them, without one, until the worker is ended. */
function rebalanceBarely() {
  const plan = timeCallback('bareTimer', () => {
    compute();
    busyWorker.postMessage(0);
  });
  const answer = timeCallback('bareAnswer', () => {
    compute();
    setImmediate(() => {
      compute();
      if (isBare) realSetTimeout(plan, 0);
    });
  });
  busyWorker.on('message', answer);
  return () => realSetTimeout(plan, 0);
}

let isBare = false;
/** Turns the loop for a while, as often as it can. */
function run(ms, probe) {
  const end = performance.now() + ms;
  return new Promise((resolve) => {
    const turn = () => {
      turns++;
      probe?.turn();
      if (performance.now() >= end) return resolve();
      if (isBare) bareTurn();
      else if (!mode.startsWith('idle')) {
        recordStep();
        if (turns % TURNS_PER_AVERAGE === 0) timed('loop', compute);
      }
      setImmediate(turn);
    };
    setImmediate(turn);
  });
}

const rebalancer = new AsyncExpertRebalancer({
  balancer,
  rebalanceInterval: 0,
  loadThreshold: 1,
  autoCommit: true,
});
rebalancer.on('error', (error) => {
  throw error;
});
let committed = 0;
rebalancer.on('committed', () => committed++);

const bareStart = busyWorker && rebalanceBarely();
/** The control, for a while. */
async function runBare(ms) {
  isBare = true;
  bareStart();
  await run(ms);
  isBare = false;
  // The last answer.
  await run(20);
}

let neighbour;
if (mode === 'plan') rebalancer.start();
if (mode.endsWith('beside a busy thread')) neighbour = new Worker('for (;;);', { eval: true });
await run(WARM_UP_MS);
times = makeTimes();
if (mode === 'plan') await pausedFor(() => runBare((seconds * 1000) / 3));
const plansBefore = committed;
const probe = new ArrivalProbe();
probe.start();
await run(seconds * 1000, probe);
const delays = probe.stop();
const plans = committed - plansBefore;
await rebalancer.stop();
if (mode === 'plan') await runBare((seconds * 1000) / 3);
const calls = Object.fromEntries(KINDS.map((kind) => [kind, times[kind].stats()]));
await busyWorker?.terminate?.();
await neighbour?.terminate();
await balancer.close();
process.stdout.write(JSON.stringify({ ...delays, calls, plans, steps, isRight: isRight() }));

/** Does something while the rebalancer does nothing. */
async function pausedFor(work) {
  await rebalancer.stop();
  await work();
  rebalancer.start();
}

/** Whatever was planned meanwhile, the window's tokens are those recorded, layer by layer. */
function isRight() {
  const { data } = balancer.getAverageLoad();
  const sum = (row) => row.reduce((total, load) => total + load, 0);
  const recorded = rows.map(sum);
  return rows.every((_, layer) => {
    let expected = 0;
    const first = Math.max(0, steps - windowSize);
    for (let step = first; step < steps; step++) {
      expected += recorded[(layer + Math.floor(step / STEPS_PER_SHIFT)) % numLayers];
    }
    expected /= Math.max(1, steps - first);
    const average = sum(data.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts));
    return Math.abs(average - expected) <= 1e-5 * expected;
  });
}

import assert from 'node:assert/strict';
import { runChild } from '../child.ts';
import { beside, controlled, derived, type Figure, sampled } from '../figure.ts';
import { type Stats, scale } from '../stats.ts';
import type { Suite, SuiteContext } from '../suite.ts';
import { MAIN_SIZE, makeWorkload, sizeName } from '../workloads.ts';

const ID = `host/${sizeName(MAIN_SIZE)}`;

/** What the process does besides turning its event loop. */
type Mode = 'idle' | 'idle beside a busy thread' | 'record' | 'record beside a busy thread' | 'plan';

/** What is timed on the main thread: children/host.mjs, and how the figures call it. */
const CALLS = {
  timer: "the rebalancer's timer, until the plan is asked for",
  answer: "a worker's answer, until the mapping is live",
  plan: 'plan, until it returns',
  commit: 'commit',
  recordLoad: 'recordLoad, 58 layers',
  advanceWindow: 'advanceWindow',
  getAverageLoad: 'getAverageLoad',
} as const;

/** What a call is beside: the same without the library, as often, in the same process. */
const CONTROLS = {
  timer: ['bareTimer', 'a bare timer'],
  answer: ['bareAnswer', "a bare worker's answer"],
  getAverageLoad: ['bareCopy', 'a loop and a copy'],
} as const;

const NO_CALL = ['bareLoop', 'a loop'] as const;

type BareKind = 'bareLoop' | (typeof CONTROLS)[keyof typeof CONTROLS][0];

interface HostAnswer {
  /** Of arrivals at any moment, and as perf_hooks sees it with a resolution of 1 ms; in milliseconds. */
  readonly waits: Delay;
  readonly loopDelay: Delay;
  /** In milliseconds; left out where there was no call. */
  readonly calls: Partial<Record<keyof typeof CALLS | 'loop' | BareKind, Stats>>;
  readonly plans: number;
  readonly steps: number;
  readonly isRight: boolean;
}

interface Delay {
  readonly p999: number;
  readonly max: number;
}

/** The event loop of a process that records as fast as it can while a rebalancer plans without a pause. */
export const hostSuite: Suite = {
  name: 'host',
  title:
    'The event loop while a rebalancer plans without a pause and loads are recorded, ' +
    `${sizeName(MAIN_SIZE)}`,
  async run(context) {
    const { pick } = context;
    const run = (mode: Mode, seconds: number) => runHost(mode, seconds, context);
    // The machine's mood changes: both controls before and after.
    const idle = [run('idle', pick(3, 0.3))];
    const record = [run('record', pick(3, 0.3))];
    const busy = run('record beside a busy thread', pick(3, 0.3));
    const busyIdle = run('idle beside a busy thread', pick(3, 0.3));
    const planSeconds = pick(10, 0.5);
    const plan = run('plan', planSeconds);
    assert.ok(plan.plans > 0, 'the rebalancer planned');
    record.push(run('record', pick(3, 0.3)));
    idle.push(run('idle', pick(3, 0.3)));
    return [...delayFigures(idle, record, busy, busyIdle, plan, planSeconds), ...callFigures(plan)];
  },
};

function runHost(mode: Mode, seconds: number, { seed }: SuiteContext): HostAnswer {
  const slots = { ...MAIN_SIZE, numLogicalExperts: MAIN_SIZE.numPhysicalExperts };
  const { loads } = makeWorkload(slots, 'zipf', seed);
  const job = { topology: MAIN_SIZE, windowSize: 100, mode, seconds };
  const answer = runChild<HostAnswer>('host.mjs', job, loads.data);
  assert.ok(answer.isRight, `the window's average, ${mode}`);
  return answer;
}

function delayFigures(
  idle: readonly HostAnswer[],
  record: readonly HostAnswer[],
  busy: HostAnswer,
  busyIdle: HostAnswer,
  plan: HostAnswer,
  planSeconds: number,
): Figure[] {
  const probes = { waits: 'of arrivals', loopDelay: 'of perf_hooks' } as const;
  return (['waits', 'loopDelay'] as const).map((probe) => {
    const quietest = (answers: readonly HostAnswer[], what: keyof Delay) =>
      Math.min(...answers.map((answer) => answer[probe][what]));
    const { p999, max } = plan[probe];
    const control = busyIdle[probe].p999 - quietest(idle, 'p999');
    const figure = derived(
      `${ID}/delay/p99.9 ${probes[probe]} over idle`,
      'ms',
      p999 - quietest(idle, 'p999'),
      [
        beside('p99.9', p999, 'ms'),
        beside('max', max, 'ms'),
        beside('idle p99.9', quietest(idle, 'p999'), 'ms'),
        beside('idle max', quietest(idle, 'max'), 'ms'),
        beside('only recording p99.9', quietest(record, 'p999'), 'ms'),
        beside('only recording max', quietest(record, 'max'), 'ms'),
        beside('only recording, beside a busy thread p99.9', busy[probe].p999, 'ms'),
        beside('from plan to plan', (planSeconds * 1000) / plan.plans, 'ms'),
      ],
    );
    return controlled(figure, 'idle beside a busy thread', control);
  });
}

/**
 * Each kind of call, the longest and its control beside; and a loop without the library between the calls,
 * for what the machine adds there.
 */
function callFigures({ calls }: HostAnswer): Figure[] {
  const figure = (id: string, stats: Stats) => {
    const us = scale(stats, 1000);
    const besides = [
      beside('p99', us.p99, 'us'),
      beside('p99.9', us.p999, 'us'),
      beside('max', us.max, 'us'),
    ];
    return sampled(id, 'us', us, besides, 'p999');
  };
  const kinds = Object.keys(CALLS) as (keyof typeof CALLS)[];
  const timed = kinds.flatMap((kind) => {
    const stats = calls[kind];
    if (stats === undefined) return [];
    const [bare, label] = kind in CONTROLS ? CONTROLS[kind as keyof typeof CONTROLS] : NO_CALL;
    return [controlled(figure(`${ID}/call/${CALLS[kind]}`, stats), label, 1000 * calls[bare]!.p999)];
  });
  return [...timed, figure(`${ID}/control: a loop without the library`, calls.loop!)];
}

/** What the dashboard is made of: history, rank loads, plans, streams, and what the page makes of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ExpertMapping } from '../../src/mapping/expert-mapping.ts';
import { mergeGroup, mergeGroups } from '../../src/serve/dashboard/browser/merge.ts';
import { cellsOf } from '../../src/serve/dashboard/browser/rank-map.ts';
import { EventParser } from '../../src/serve/dashboard/browser/sse.ts';
import { Changes, Feed, Watchers } from '../../src/serve/dashboard/feed.ts';
import { GroupHistory } from '../../src/serve/dashboard/history.ts';
import { PlanLog } from '../../src/serve/dashboard/plan-log.ts';
import { type RankLoads, rankLoadsOf, rankMapOf } from '../../src/serve/dashboard/rank-loads.ts';
import type { DashboardView, HistoryPoint, OverviewRow } from '../../src/serve/dashboard/view.ts';

/** A time that passes when it is told to. */
function handTime() {
  let nowMs = 0;
  const waiting = new Set<{ readonly atMs: number; readonly work: () => void }>();
  return {
    now: () => nowMs,
    after(ms: number, work: () => void) {
      const timer = { atMs: nowMs + ms, work };
      waiting.add(timer);
      return () => void waiting.delete(timer);
    },
    get numWaiting() {
      return waiting.size;
    },
    pass(ms: number) {
      nowMs += ms;
      for (const timer of [...waiting].filter(({ atMs }) => atMs <= nowMs)) {
        waiting.delete(timer);
        timer.work();
      }
    },
  };
}

/** A reader of a stream, that can be slow. */
function sink() {
  const texts: string[] = [];
  const state = { waitingBytes: 0, isEnded: false, isCut: false };
  return {
    texts,
    state,
    get waitingBytes() {
      return state.waitingBytes;
    },
    write: (text: string) => void texts.push(text),
    end: () => {
      state.isEnded = true;
    },
    cut: () => {
      state.isCut = true;
    },
  };
}

const steps = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 0, max: 200_000 }),
    epoch: fc.nat(3),
    balancedness: fc.double({ min: 0.01, max: 1, noNaN: true }),
    secondsLost: fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { nil: undefined }),
  }),
  { maxLength: 80 },
);

test('a history has a point for each width of time that had steps: mean, lowest, highest', () => {
  fc.assert(
    fc.property(steps, (given) => {
      const history = new GroupHistory();
      const points = new Map<number, number[]>();
      let atMs = 1_700_000_000_000;
      for (const { afterMs, ...step } of given) {
        atMs += afterMs;
        history.add({ atMs, ...step });
        const begin = Math.floor(atMs / 60_000) * 60_000;
        points.set(begin, [...(points.get(begin) ?? []), step.balancedness]);
      }
      const { minutes, hours } = history.view();
      assert.deepEqual([minutes.secondsPerPoint, minutes.maxPoints], [2, 300]);
      assert.deepEqual([hours.secondsPerPoint, hours.maxPoints], [60, 480]);
      assert.deepEqual(
        hours.points.map(([at]) => at),
        [...points.keys()].slice(-480),
      );
      for (const [at, , mean, lowest, highest] of hours.points) {
        const own = points.get(at)!;
        assert.ok(Math.abs(mean - own.reduce((sum, one) => sum + one, 0) / own.length) < 1e-4);
        assert.ok(Math.abs(lowest - Math.min(...own)) < 1e-4);
        assert.ok(Math.abs(highest - Math.max(...own)) < 1e-4);
      }
    }),
  );
});

test('a history is bounded, and a clock that is set back does not disturb its order', () => {
  const history = new GroupHistory();
  for (let i = 0; i < 40_000; i++) {
    const atMs = 1_700_000_000_000 + 2000 * i - (i % 100 === 99 ? 50_000 : 0);
    history.add({ atMs, epoch: i, balancedness: 0.123456789, secondsLost: 0.000123456789 });
  }
  const { minutes, hours } = history.view();
  assert.deepEqual([minutes.points.length, hours.points.length], [300, 480]);
  for (const { points } of [minutes, hours]) {
    assert.ok(points.every(([at], i) => i === 0 || at > points[i - 1]![0]));
  }
  assert.ok(JSON.stringify(history.view()).length < 80_000);
});

test('what is new in a history is told once, and its newest points again when they change', () => {
  const history = new GroupHistory();
  assert.equal(history.news(), undefined);
  const add = (atMs: number, balancedness: number) =>
    history.add({ atMs: 1_700_000_000_000 + atMs, epoch: 0, balancedness, secondsLost: undefined });
  const told = () => {
    const news = history.news();
    return news && [news.minutes.map((point) => point[2]), news.hours.map((point) => point[2])];
  };
  add(0, 0.5);
  add(2000, 0.7);
  assert.deepEqual(told(), [[0.5, 0.7], [0.6]]);
  assert.equal(told(), undefined);
  add(2001, 0.9);
  assert.deepEqual(told(), [[0.8], [0.7]]);
  add(5000, 1);
  // With the newest that was told before, which could have changed.
  assert.deepEqual(told(), [[0.8, 1], [0.775]]);
  assert.equal(told(), undefined);
  assert.equal(told(), undefined);
});

const sizes = fc.record({
  numLayers: fc.integer({ min: 1, max: 4 }),
  numRanks: fc.integer({ min: 1, max: 5 }),
  slotsPerRank: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(),
});

test('rank loads are what slots counted, or loads of experts / copies, over the speed of the rank', () => {
  fc.assert(
    fc.property(sizes, fc.boolean(), fc.boolean(), (given, isPhysical, differ) => {
      const { numLayers, numRanks, slotsPerRank, seed } = given;
      const numPhysicalExperts = numRanks * slotsPerRank;
      const numLogicalExperts = Math.max(1, numPhysicalExperts - 1);
      const table = Array.from({ length: numLayers }, (_, layer) =>
        Array.from({ length: numPhysicalExperts }, (_, slot) => (slot + layer + seed) % numLogicalExperts),
      );
      const mapping = ExpertMapping.fromPhysicalToLogical(table, numLogicalExperts);
      const width = isPhysical ? numPhysicalExperts : numLogicalExperts;
      const data = Float32Array.from({ length: numLayers * width }, (_, i) => ((i + 1) * (seed + 7)) % 97);
      const rankSpeed = differ ? Array.from({ length: numRanks }, (_, rank) => 1 + rank / 2) : undefined;
      const topology = {
        ...{ numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes: 1, numGroups: 1 },
        ...(rankSpeed && { rankSpeed }),
      };
      const loads = { data, numLayers, numExperts: width };
      const kind = isPhysical ? ('physical' as const) : ('logical' as const);
      const found = rankLoadsOf({ kind, loads, mapping }, topology)!;
      let [sumOfMeans, sumOfMost, tokens] = [0, 0, 0];
      for (let layer = 0; layer < numLayers; layer++) {
        const own = Array.from({ length: numRanks }, (_, rank) => {
          let sum = 0;
          for (let slot = rank * slotsPerRank; slot < (rank + 1) * slotsPerRank; slot++) {
            const expert = table[layer]![slot]!;
            const copies = table[layer]!.filter((one) => one === expert).length;
            sum += isPhysical ? data[layer * width + slot]! : data[layer * width + expert]! / copies;
          }
          return sum;
        });
        const all = own.reduce((sum, one) => sum + one, 0);
        const speeds = rankSpeed ?? own.map(() => 1);
        const mean = all / speeds.reduce((sum, one) => sum + one, 0);
        const takes = own.map((load, rank) => load / speeds[rank]!);
        takes.forEach((one, rank) => {
          assert.ok(Math.abs(found.loads[layer * numRanks + rank]! - one) < 1e-3);
        });
        assert.ok(Math.abs(found.means[layer]! - mean) < 1e-3);
        sumOfMeans += mean;
        sumOfMost += Math.max(...takes);
        tokens += all;
      }
      assert.ok(Math.abs(found.balancedness - (sumOfMost === 0 ? 1 : sumOfMeans / sumOfMost)) < 1e-6);
      assert.ok(Math.abs(found.tokens - tokens) < 1e-2);
    }),
  );
});

test('what the mapping has on a dead rank counts for no other, and is still seen', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2]]);
  const loads = { data: Float32Array.of(30, 50, 10), numLayers: 1, numExperts: 3 };
  const sizes = { numLayers: 1, numLogicalExperts: 3, numPhysicalExperts: 3, numRanks: 3 };
  const topology = { ...sizes, numNodes: 1, numGroups: 1, deadRanks: [1] };
  const found = rankLoadsOf({ kind: 'logical', loads, mapping }, topology)!;
  assert.deepEqual([...found.loads, ...found.means], [30, 50, 10, 20]);
  assert.ok(Math.abs(found.balancedness - 20 / 30) < 1e-9);
});

test('loads of other slots than there are now are left out', () => {
  const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1]]);
  const loads = { data: Float32Array.of(1, 2), numLayers: 1, numExperts: 2 };
  const topology = { numLayers: 1, numLogicalExperts: 2, numNodes: 1, numGroups: 1 };
  const step = { kind: 'logical', loads, mapping } as const;
  assert.equal(rankLoadsOf(step, { ...topology, numPhysicalExperts: 4, numRanks: 4 }), undefined);
});

/** Rank loads from a rule. */
function someLoads(
  numLayers: number,
  numRanks: number,
  deadRanks: readonly number[],
  share: (layer: number, rank: number) => number,
): RankLoads {
  const loads = Float64Array.from({ length: numLayers * numRanks }, (_, i) =>
    deadRanks.includes(i % numRanks) ? 0 : 10 * share(Math.floor(i / numRanks), i % numRanks),
  );
  const means = new Float64Array(numLayers).fill(10);
  return { numLayers, numRanks, loads, means, deadRanks, tokens: 1, balancedness: 0.5 };
}

const ABOUT = { step: 1, epoch: 0, measured: 'slots' } as const;

test('a picture has the highest of the layers and ranks that a cell stands for, as the page reads it', () => {
  const shape = fc.record({
    numLayers: fc.integer({ min: 1, max: 300 }),
    numRanks: fc.integer({ min: 1, max: 600 }),
    seed: fc.nat(1000),
  });
  fc.assert(
    fc.property(shape, ({ numLayers, numRanks, seed }) => {
      const dead = numRanks > 1 ? [seed % numRanks] : [];
      const of = (layer: number, rank: number) => ((layer * 31 + rank * 17 + seed) % 50) / 20;
      const ranks = someLoads(numLayers, numRanks, dead, of);
      const map = rankMapOf(ranks, ABOUT);
      const { shares, rows, columns } = cellsOf(map);
      assert.ok(rows <= 128 && columns <= 128 && map.cells.length <= 21_852);
      assert.equal(shares.length, rows * columns);
      const wanted = new Float64Array(rows * columns).fill(Number.NaN);
      const all: number[] = [];
      for (let layer = 0; layer < numLayers; layer++) {
        for (let rank = 0; rank < numRanks; rank++) {
          if (dead.includes(rank)) continue;
          const at = Math.floor(layer / map.layersPerRow) * columns + Math.floor(rank / map.ranksPerColumn);
          const share = of(layer, rank);
          all.push(share);
          wanted[at] = Number.isNaN(wanted[at]!) ? share : Math.max(wanted[at]!, share);
        }
      }
      shares.forEach((share, i) => {
        if (Number.isNaN(wanted[i]!)) assert.ok(Number.isNaN(share), `cell ${i} is dead`);
        else assert.ok(Math.abs(share - wanted[i]!) <= map.scale / 2 + 1e-9, `cell ${i}`);
      });
      const highest = all.filter((share) => share > 0).sort((a, b) => b - a);
      assert.deepEqual(
        map.hottest.map(({ share }) => share),
        highest.slice(0, 8),
      );
      for (const { layer, rank, share } of map.hottest) assert.equal(of(layer, rank), share);
    }),
    { numRuns: 40 },
  );
});

test('a dead rank that still has load is shown, and a layer without tokens is all 0', () => {
  const ranks = someLoads(2, 3, [], (layer, rank) => (layer === 1 ? 0 : rank));
  const map = rankMapOf({ ...ranks, means: Float64Array.of(10, 0), deadRanks: [0, 2] }, ABOUT);
  const { shares } = cellsOf(map);
  assert.ok(Number.isNaN(shares[0]!));
  assert.ok(Math.abs(shares[2]! - 2) < 0.01);
  assert.equal(shares[4], 0);
});

test('the log puts what was predicted beside what was measured before and after', () => {
  const log = new PlanLog();
  const plan = {
    at: 1,
    status: 'planned',
    reason: '',
    seconds: 0.01,
    epoch: 0,
    moves: 3,
    bytes: null,
  } as const;
  for (let i = 0; i < 5; i++)
    log.planned({ ...plan, at: i, status: 'kept', reason: 'no gain', digest: null });
  log.planned({ ...plan, at: 9, digest: 'd' });
  let timesMade = 0;
  const loads = { data: Float32Array.of(1, 2), numLayers: 1, numExperts: 2 };
  log.predict('d', loads, ({ data }) => {
    timesMade++;
    assert.deepEqual([...data], [1, 2]);
    return { before: 0.5, after: 0.9 };
  });
  loads.data.fill(7);
  assert.deepEqual(
    log.plans().map(({ at, status, times, predicted }) => [at, status, times, predicted?.after]),
    [
      [9, 'planned', 1, 0.9],
      [4, 'kept', 5, undefined],
    ],
  );
  // Of the steps before, the last ten count.
  for (let i = 0; i < 30; i++) log.measured(0, 0, i < 20 ? 1 : 4, 10);
  log.wentLive({ at: 10, epoch: 1, digest: 'd', moves: 3, bytes: null, gainNumber: 7 });
  const [fresh] = log.live([]);
  assert.deepEqual(fresh!.realised, { before: 0.4, after: null, steps: 0 });
  log.measured(1, 1, 9, 10);
  log.measured(1, 1, 7, 10);
  // One that comes late is of the mapping before.
  log.measured(0, 1, 1, 10);
  const gain = { number: 7, unit: 'seconds', realisedGain: 2, predictedGain: 3, numSteps: 4, isFinal: false };
  const [row] = log.live([{ ...gain, unit: 'seconds' }]);
  assert.deepEqual(row!.predicted, { before: 0.5, after: 0.9 });
  assert.equal(timesMade, 1);
  assert.deepEqual(row!.realised, { before: 0.4, after: 0.8, steps: 2 });
  assert.deepEqual(row!.gain, { unit: 'seconds', predicted: 3, realised: 2, steps: 4, isFinal: false });
  for (let epoch = 2; epoch < 100; epoch++) {
    log.planned({ ...plan, at: epoch, digest: `${epoch}` });
    log.predicted(`${epoch}`, { before: 0, after: 1 });
    log.wentLive({ at: 10, epoch, digest: `${epoch}`, moves: 3, bytes: null, gainNumber: undefined });
  }
  assert.deepEqual([log.plans().length, log.live([]).length], [16, 16]);
  assert.equal(log.live([])[0]!.epoch, 99);
  const long = { ...plan, seconds: 0.123456, moves: 12_345, bytes: 123_456_789_012 };
  for (let epoch = 1_000_000; epoch < 1_000_020; epoch++) {
    const digest = `${epoch}`.padEnd(64, 'f');
    log.planned({ ...long, at: 1_700_000_000_000, epoch, digest });
    log.predict(digest, loads, () => ({ before: 0.123456, after: 0.654321 }));
    log.wentLive({ ...long, epoch, digest, gainNumber: 7 });
    log.measured(epoch, epoch, 0.123456, 0.234567);
  }
  const all = { last: log.plans(), live: log.live([{ ...gain, unit: 'seconds', realisedGain: 0.123456 }]) };
  assert.ok(JSON.stringify(all).length < 12_000, 'whatever is in it');
});

test('predictions keep copies of their loads, and use the memory of those that are forgotten', () => {
  const log = new PlanLog();
  const buffers = new Set<unknown>();
  for (let i = 0; i < 200; i++) {
    const loads = { data: Float32Array.of(i, 2), numLayers: 1, numExperts: 2 };
    log.predict(`${i}`, loads, ({ data }) => {
      buffers.add(data.buffer);
      return { before: data[0]!, after: data[1]! };
    });
    loads.data.fill(-1);
    const row = {
      at: i,
      status: 'planned',
      reason: '',
      seconds: 0,
      epoch: 0,
      moves: 1,
      bytes: null,
    } as const;
    log.planned({ ...row, digest: `${i - (i % 5)}` });
    const [newest] = log.plans();
    assert.deepEqual(newest!.predicted, { before: i - (i % 5), after: 2 });
  }
  assert.ok(buffers.size < 34, `${buffers.size} buffers`);
});

/** Something to watch: a number. */
function counting(most = 8) {
  const time = handTime();
  const watchers = new Watchers(most);
  const value = { count: 0, looks: 0 };
  let published = 0;
  const source = {
    whole: () => ({ count: value.count }),
    changes: () => {
      value.looks++;
      if (published === value.count) return undefined;
      published = value.count;
      return { count: value.count };
    },
  };
  return { time, watchers, value, feed: new Feed(source, time, watchers) };
}

const idOf = (text: string) => /^id: (.*)$/m.exec(text)![1]!;
const dataOf = (text: string) => JSON.parse(/^data: (.*)$/m.exec(text)![1]!);
const typeOf = (text: string) => /^event: (.*)$/m.exec(text)![1]!;

test('a feed tells of changes once a second, and looks at nothing while nobody watches', () => {
  const { time, value, feed } = counting();
  time.pass(10_000);
  assert.equal(value.looks, 0);
  const one = sink();
  const end = feed.watch(one, undefined);
  assert.deepEqual(one.texts.map(typeOf), ['state']);
  value.count = 5;
  time.pass(999);
  assert.equal(one.texts.length, 1);
  time.pass(1);
  assert.deepEqual([typeOf(one.texts[1]!), dataOf(one.texts[1]!)], ['update', { count: 5 }]);
  time.pass(1000);
  assert.equal(one.texts.length, 2, 'nothing has changed');
  end();
  time.pass(1000);
  const { looks } = value;
  time.pass(60_000);
  assert.deepEqual([value.looks, time.numWaiting], [looks, 0]);
});

test('who comes back hears what was missed, also while nobody watched; else all of it', () => {
  const { time, value, feed } = counting();
  const one = sink();
  const end = feed.watch(one, undefined);
  value.count = 1;
  time.pass(1000);
  end();
  time.pass(1000);
  value.count = 7;
  const again = sink();
  feed.watch(again, idOf(one.texts.at(-1)!));
  assert.deepEqual([again.texts.map(typeOf), dataOf(again.texts[0]!)], [['update'], { count: 7 }]);
  for (const id of ['', 'x-1', 'nonsense', `${idOf(one.texts[0]!)}9999`]) {
    const other = sink();
    feed.watch(other, id);
    assert.deepEqual(other.texts.map(typeOf), ['state'], id);
  }
});

test('only so many watch, a slow one is cut off, and places are given back once', () => {
  const { time, watchers, value, feed } = counting(2);
  const slow = sink();
  const endSlow = feed.watch(slow, undefined);
  const quick = sink();
  const endQuick = feed.watch(quick, undefined);
  assert.throws(() => feed.watch(sink(), undefined), { code: 'EPLB_LIMIT', message: /maxWatchers/ });
  slow.state.waitingBytes = 256 * 1024;
  value.count = 1;
  time.pass(1000);
  assert.deepEqual([slow.state.isCut, slow.texts.length, quick.texts.length], [true, 1, 2]);
  // Its connection is closed by that.
  endSlow();
  endSlow();
  assert.equal(watchers.count, 1);
  feed.watch(sink(), undefined);
  assert.equal(watchers.count, 2);
  feed.close();
  assert.ok(quick.state.isEnded);
  endQuick();
  assert.throws(() => feed.check(), { code: 'EPLB_CLOSED' });
  time.pass(1000);
  assert.equal(time.numWaiting, 0);
});

test('parts are changed when their JSON is another', () => {
  const changes = new Changes<{ a: object; b?: number }>();
  assert.deepEqual(changes.of({ a: { x: 1 }, b: 2 }), { a: { x: 1 }, b: 2 });
  assert.deepEqual(changes.of({ a: { x: 1 }, b: 3 }), { b: 3 });
  assert.deepEqual(changes.of({ a: { x: 1 }, b: 3 }), {});
  changes.forget('a');
  assert.deepEqual(changes.of({ a: { x: 1 }, b: 3 }), { a: { x: 1 } });
});

test('the page reads a stream alike whatever pieces it comes in', () => {
  const event = fc.record({ type: fc.constantFrom('state', 'update'), data: fc.jsonValue(), id: fc.nat() });
  fc.assert(
    fc.property(fc.array(event), fc.array(fc.nat(400)), fc.boolean(), (events, cuts, withReturns) => {
      const lines = events.flatMap(({ type, data, id }) => [
        ...[`id: a-${id}`, `event: ${type}`, `data: ${JSON.stringify(data)}`, '', ':', ''],
      ]);
      const text = lines.map((line) => `${line}${withReturns ? '\r' : ''}\n`).join('');
      const places = [0, ...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length];
      const parser = new EventParser();
      const read = places.slice(1).flatMap((end, i) => parser.push(text.slice(places[i], end)));
      assert.deepEqual(
        read,
        events.map(({ type, data, id }) => ({ type, data: JSON.stringify(data), id: `a-${id}` })),
      );
    }),
  );
});

test('updates change what they name, points take the place of those of their time', () => {
  const point = (at: number, mean: number): HistoryPoint => [at, 0, mean, mean, mean, null];
  const span = (maxPoints: number, ...points: HistoryPoint[]) => ({ secondsPerPoint: 2, maxPoints, points });
  const history = { minutes: span(3, point(2, 0.1), point(4, 0.2)), hours: span(3) };
  const view = { at: 1, history, group: { epoch: 1 }, now: { newest: null } } as unknown as DashboardView;
  const points = { minutes: [point(4, 0.3), point(6, 0.4), point(8, 0.5)], hours: [point(0, 1)] };
  const now = { newest: { step: 2 } } as unknown as DashboardView['now'];
  const merged = mergeGroup(view, { at: 2, now, points });
  assert.deepEqual(merged.history.minutes.points, [point(4, 0.3), point(6, 0.4), point(8, 0.5)]);
  assert.deepEqual(merged.history.hours.points, [point(0, 1)]);
  assert.deepEqual([merged.at, merged.now, merged.group], [2, now, view.group]);
  assert.deepEqual(mergeGroup(merged, { at: 2, now, points }), merged);

  const row = (group: string, epoch: number) => ({ group, epoch }) as OverviewRow;
  const counts = { at: 2, numGroups: 2, numFlagged: 0 };
  const all = { ...counts, version: '1', groups: [row('a', 1), row('c', 1)] };
  const next = mergeGroups(all, { ...counts, gone: ['a'], groups: [row('b', 2)] });
  assert.deepEqual(next.groups, [row('b', 2), row('c', 1)]);
});

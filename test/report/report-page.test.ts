import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { renderReport } from 'expert-load-balancer/report';
import { adviseReplays } from '../../src/replay/advice.ts';
import type { ReplayReport, ReplayResult } from '../../src/replay/result.ts';
import {
  costFinding,
  firstShown,
  headline,
  partialNotice,
  sweepFinding,
  timeFinding,
} from '../../src/report/findings.ts';
import { reportPage } from '../../src/report/page.ts';
import { summaryTable } from '../../src/report/summary-table.ts';
import { eplb, inTempDir, RECORDING } from '../helpers/cli.ts';
import { refusal } from '../helpers/library.ts';
import { exampleReport } from '../helpers/replay-report.ts';
import { builtAssets, recordedReport, renamed } from '../helpers/report.ts';

const assets = await builtAssets();
const recorded = await recordedReport();
const HOSTILE = '</script></style><img src=x onerror="document.title=1">';

test('the package renders what the source renders, the same every time', async () => {
  const page = await renderReport(recorded);
  assert.equal(page, reportPage(recorded, assets));
  assert.equal(page, await renderReport(JSON.parse(JSON.stringify(recorded))));
});

test('what is not a report is refused', async () => {
  for (const wrong of [undefined, null, 'report', {}, { kind: 'placement' }] as unknown as ReplayReport[]) {
    await assert.rejects(renderReport(wrong), refusal('type', 'EPLB_KIND', /^report: /));
  }
  for (const [formatVersion, message] of [
    [1, /formatVersion is 1, not 2: it was made by an earlier version of the package: make it anew$/],
    [3, /formatVersion is 3, not 2: it was made by a later version/],
    [undefined, /formatVersion is undefined, not 2: it was made by an earlier version/],
  ] as const) {
    const other = { ...recorded, formatVersion } as unknown as ReplayReport;
    await assert.rejects(renderReport(other), refusal('range', 'EPLB_FORMAT', message));
  }
  await assert.rejects(
    renderReport({ ...recorded, replays: [] }),
    refusal('range', 'EPLB_SHAPE', /no replay/),
  );
});

test('the page loads nothing and runs nothing but its own script', () => {
  const page = reportPage(recorded, assets);
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/
    .exec(page)![1]!
    .replaceAll('&#39;', "'");
  const digest = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  assert.deepEqual(policy.split('; '), [
    "default-src 'none'",
    `script-src ${digest(assets.script)}`,
    `style-src ${digest(assets.style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ]);
  const markup = page.replace(assets.script, '').replace(assets.style, '');
  assert.doesNotMatch(markup, /\s(src|srcset|action|style|on\w+)=/);
  assert.deepEqual(
    [...markup.matchAll(/href="([^"]*)"/g)].map((match) => match[1]),
    [
      'data:,',
      ...['summary', 'time', 'costs', 'traffic', 'failures', 'look', 'configuration'].map(
        (id) => `#${id}-heading`,
      ),
      '#look-heading',
    ],
  );
  for (const [, id] of markup.matchAll(/href="#([^"]*)"/g)) assert.ok(markup.includes(`id="${id}"`), id);
  assert.doesNotMatch(assets.style, /url\(|@import/);
  assert.doesNotMatch(assets.script, /<\/script|<!--/i);
  assert.doesNotMatch(
    assets.script,
    /\beval\(|new Function\(|\bfetch\(|XMLHttpRequest|WebSocket|importScripts/,
  );
});

test('the licences of the charting code are in the page', () => {
  for (const notice of [
    'Apache ECharts',
    'Apache License',
    'Copyright (c) 2017, Baidu Inc.',
    'Copyright (c) Microsoft',
    'Mike Bostock',
  ]) {
    assert.ok(assets.licences.includes(notice), notice);
  }
  const page = reportPage(recorded, assets);
  assert.ok(page.includes('This product includes software developed at'));
});

test('names can hold anything and are nothing but text', () => {
  const report = renamed(exampleReport({ withSweep: true }), [HOSTILE, `${HOSTILE}2`, '<!--<script>']);
  const { recording, sweep } = report;
  const page = reportPage(
    {
      ...report,
      recording: { ...recording, path: `/tmp/${HOSTILE}`, format: HOSTILE, notes: [HOSTILE] },
      versions: { package: HOSTILE, node: HOSTILE, platform: HOSTILE },
      sweep: { ...sweep!, advice: HOSTILE },
    },
    assets,
  );
  assert.doesNotMatch(page.replace(assets.script, ''), /<img|<!--|onerror="/);
  assert.equal(page.match(/<\/script>/g)!.length, 2);
  assert.equal(page.match(/<\/style>/g)!.length, 1);
});

test('a page is small: its parts, and at most this many bytes for what it shows', () => {
  const fixed = assets.script.length + assets.style.length + assets.licences.length;
  assert.ok(fixed < 640_000, `${fixed} bytes are the same in every page`);
  const policies = ['static', 'default', 'locality', 'adaptive', 'mine'];
  const large = exampleReport({ numSteps: 100_000, numLayers: 58, numRanks: 64, policies, withSweep: true });
  assert.ok(reportPage(large, assets).length - fixed < 500_000);
});

test('the best of every column is marked, costs only among policies that plan', () => {
  const { markup } = summaryTable(recorded);
  const rows = [...markup.matchAll(/<tr><th scope="row">(.*?)<\/th>(.*?)<\/tr>/gs)].map(
    ([, name, cells]) => ({
      name,
      best: [...cells!.matchAll(/<td( class="best")?>/g)].map((match) => match[1] !== undefined),
    }),
  );
  // Balancedness four times, PAR, plans, planning, slots, weights, time, saved: one that plans has no rival
  // in costs.
  const totals = recorded.replays.map(({ totals: { modelledSeconds } }) => modelledSeconds);
  const isFaster = totals[1]! < totals[0]!;
  assert.deepEqual(rows, [
    {
      name: 'static',
      best: [false, false, false, false, false, false, false, false, false, !isFaster, !isFaster],
    },
    { name: 'default', best: [true, true, true, true, true, false, false, false, false, isFaster, isFaster] },
  ]);
});

test('equal bests are all marked, and columns that are all alike not at all', () => {
  const [, one] = recorded.replays as [ReplayResult, ReplayResult];
  const alike = summaryTable({ ...recorded, replays: [one, { ...one, name: 'twin' }] });
  assert.doesNotMatch(alike.markup, /class="best"/);
  const worse = { ...one, name: 'third', totals: { ...one.totals, moves: one.totals.moves + 1 } };
  const { markup } = summaryTable({ ...recorded, replays: [one, { ...one, name: 'twin' }, worse] });
  assert.equal(markup.match(/class="best"/g)!.length, 2);
});

/** A report of one policy beside none, that takes so long. */
function reportOf(modelledSeconds: number, after: number): ReplayReport {
  const example = exampleReport({ policies: ['static', 'default'] });
  const [none, one] = example.replays as [ReplayResult, ReplayResult];
  const totals = {
    ...none.totals,
    unbalancedSeconds: 100,
    modelledSeconds: 100,
    stepSeconds: 100,
    secondsSaved: 0,
  };
  const moveSeconds = 5;
  const own = {
    ...one.totals,
    ...totals,
    ...{ changedSlots: 12, bytes: 3e9, redundantBytesPerRank: 2e9 },
    modelledSeconds,
    moveSeconds,
    stepSeconds: modelledSeconds - moveSeconds,
  };
  return {
    ...example,
    replays: [
      {
        ...none,
        totals,
        unbalanced: { ...none.unbalanced, balancednessRatioOfSums: 0.5 },
        balance: { ...none.balance, balancednessRatioOfSums: 0.5 },
      },
      {
        ...one,
        totals: { ...own, numPlans: 3, secondsSaved: 100 - modelledSeconds },
        unbalanced: { ...one.unbalanced, balancednessRatioOfSums: 0.5 },
        balance: { ...one.balance, balancednessRatioOfSums: after },
      },
    ],
  };
}

test('titles say what was found', () => {
  const gain = reportOf(80, 0.75);
  // Without an advice of its own it is advised as a replay is.
  const { advice: _, ...untold } = gain;
  const { sentence } = adviseReplays(gain.replays, { tokensPerRank: null });
  assert.match(sentence, /^Balance with default: it saves 20\.0% \(.*\), 80\.0 s instead of 100 s\./);
  assert.equal(headline(untold), sentence);
  const advice = { kind: 'balance', replay: 'default', sentence: 'As it was told.' } as const;
  assert.equal(headline({ ...gain, advice }), 'As it was told.');
  assert.equal(timeFinding(gain), 'default lifts balancedness from 0.5000 to 0.7500');
  assert.equal(
    costFinding(gain),
    'default saves 25.0 s of waiting with 3 plans, for 5.00 s of moving weights',
  );
  assert.equal(firstShown(gain), 1);

  const loss = reportOf(103, 0.55);
  assert.equal(
    costFinding(loss),
    'default saves 2.00 s of waiting with 3 plans, for 5.00 s of moving weights',
  );
  assert.equal(firstShown(loss), 1, 'what did not pay is what one looks at');

  const harm = reportOf(110, 0.45);
  assert.equal(timeFinding(harm), 'No policy lifts balancedness over the 0.5000 of no balancing');
  assert.equal(costFinding(harm), 'default saves no waiting with 3 plans, and moving weights takes 5.00 s');

  const none = { ...gain, replays: gain.replays.slice(0, 1) };
  assert.equal(costFinding(none), 'Nothing is moved without balancing');
});

test('no line of the headline ends between a number and its unit', () => {
  const sentence = 'Balance: 80.0 s in place of 100 s, with 2.00 GB a rank.';
  const page = reportPage(
    { ...reportOf(80, 0.75), advice: { kind: 'balance', replay: 'default', sentence } },
    assets,
  );
  const kept = sentence.replace(/(\d) (s|GB)/g, '$1\u00a0$2');
  assert.ok(page.includes(`<p class="lead">${kept}</p>`));
});

test('less than one in a hundred is not a reason to balance', () => {
  const advised = (seconds: number) =>
    adviseReplays(reportOf(seconds, 0.75).replays, { tokensPerRank: null });
  assert.match(
    advised(99.5).sentence,
    /^Do not balance: the best, default, saves .*, 99\.5 s instead of 100 s/,
  );
  assert.match(advised(99).sentence, /^Balance with default: it saves 1\.0% .*, 99\.0 s instead of 100 s/);
});

test('a sweep begins with its advice', () => {
  const swept = exampleReport({ withSweep: true });
  assert.equal(headline(swept), swept.sweep!.advice);
  assert.equal(sweepFinding(swept.sweep!), '5 of 30 configurations are on the Pareto front of their ranks');
});

test('scores of a yardstick have a column of their own', () => {
  const { markup } = summaryTable({
    ...recorded,
    scores: { reference: 'the published policy', values: [97.123, 100] },
  });
  assert.match(markup, /<td>97\.12<\/td><\/tr>/);
  assert.match(markup, /<td class="best"><strong>100\.00<\/strong>[^\n]*<\/tr>/);
  assert.ok(markup.includes('A score of 100 is that of the published policy.'));
});

test('what was interrupted is said', () => {
  assert.equal(partialNotice(recorded), undefined);
  assert.doesNotMatch(reportPage(recorded, assets), /class="notice" role/);
  const partial = exampleReport({ numSteps: 250, isPartial: true });
  assert.equal(partialNotice(partial), 'The replay was interrupted: all figures are of the first 250 steps.');
  assert.match(reportPage(partial, assets), /class="notice" role="note"><strong>Partial\./);
  const [first, ...others] = partial.replays as [ReplayResult, ...ReplayResult[]];
  const uneven = {
    ...partial,
    replays: [{ ...first, numSteps: 300, status: 'complete' as const }, ...others],
  };
  assert.equal(
    partialNotice(uneven),
    'The replay was interrupted: static 300 steps, default 250 steps, adaptive 250 steps. Totals of ' +
      'different steps do not compare.',
  );
  const swept = exampleReport({ withSweep: true });
  const half = { ...swept, sweep: { ...swept.sweep!, status: 'partial' as const } };
  assert.match(
    partialNotice(half)!,
    /^The sweep was interrupted: it holds the \d+ configurations that were done\.$/,
  );
});

test('settings that all policies share stand once, the others in a column each', () => {
  const page = reportPage(recorded, assets);
  assert.match(page, /Slots a layer<\/th><td class="text" colspan="2">80<\/td>/);
  assert.match(
    page,
    /A plan is started<\/th><td class="text">never<\/td><td class="text">every 16 steps<\/td>/,
  );
  assert.ok(page.includes(`expert-load-balancer 0.1.0, Node ${process.version}`));
});

test('every plan is in the table, or, of very many, the first of each policy', () => {
  const rows = (report: ReplayReport) =>
    reportPage(report, assets).match(
      /<tr><th scope="row">[^<]*<\/th><td>[\d,]+<\/td>\n<td class="text">(interval|drift|load)/g,
    )?.length ?? 0;
  const numPlans = recorded.replays[1]!.plans.length;
  assert.ok(numPlans > 1);
  assert.equal(rows(recorded), numPlans);
  const [none, one] = recorded.replays as [ReplayResult, ReplayResult];
  const plans = Array.from({ length: 1000 }, (_, i) => ({ ...one.plans[0]!, startedAfterStep: i }));
  const many = { ...recorded, replays: [none, { ...one, plans }, { ...one, name: 'twin', plans }] };
  assert.equal(rows(many), 240);
  assert.match(reportPage(many, assets), /The first 120 plans of each policy, of 2,000 in all/);
});

test('what the command writes is the page of what it reports', async () => {
  await inTempDir(async (dir) => {
    const common = [RECORDING, '--experts', '64', '--tokens-per-step', '256', '--interval', '8'];
    const sizes = ['--ranks', '16', '--replicas', '80'];
    const files = ['--report', 'report.html', '--json', 'report.json'];
    const commands = [
      ['compare', ...common, ...sizes, '--policies', 'static,default', ...files],
      ['sweep', ...common, ...sizes, '--policy', 'default', ...files],
    ];
    for (const args of commands) {
      const run = await eplb(args, { cwd: dir });
      assert.equal(run.code, 0, run.stderr);
      const report = JSON.parse(await readFile(join(dir, 'report.json'), 'utf8'));
      const page = await readFile(join(dir, 'report.html'), 'utf8');
      assert.equal(page, reportPage(report, assets));
      assert.equal(page.includes('id="pareto"'), args[0] === 'sweep');
    }
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FailureLoss, ReplayReport } from '../../src/replay/index.ts';
import { failuresFinding, failuresTable, hasFailures } from '../../src/report/failure-table.ts';
import { reportPage } from '../../src/report/page.ts';
import { builtAssets, recordedReport } from '../helpers/report.ts';

const recorded = await recordedReport();
const loss = (level: string, loadShare: number): FailureLoss => ({
  ...{ level, domain: 3, expertsShare: 0.25, loadShare },
  ...{ survivingLoadShare: 0.4, mostSurvivingLoadShare: 0.75 },
});

/** The recorded report, its replays losing these. */
function losing(...losses: readonly (readonly FailureLoss[])[]): ReplayReport {
  const replays = losses.map((failureLosses, at) => {
    const replay = recorded.replays[at % recorded.replays.length]!;
    return { ...replay, name: `<p${at}>`, failureLosses };
  });
  return { ...recorded, replays };
}

test('the worst failure of each level stands beside each policy, and what survives at best', () => {
  const report = losing([loss('rank', 0.1), loss('node', 0.5)], [loss('rank', 0.05), loss('node', 0.2)], []);
  const table = failuresTable(report).markup;
  assert.equal(table.match(/<tr>/g)!.length, 4);
  assert.match(table, /Worst rank.*Worst node/s);
  for (const text of ['50.0%', '20.0%', '5.0%', '40.0%', '75.0%']) assert.ok(table.includes(text), text);
  assert.ok(table.includes('&#60;p0&#62;') && !table.includes('<p0>'), 'names are text');
  const finding = failuresFinding(report);
  assert.equal(
    finding,
    'The worst node to fail takes the only copies of 20.0% of the load with <p1>, and of 50.0% with <p0>',
  );
  assert.match(
    failuresFinding(losing([loss('rank', 0.1)])),
    /^The worst rank to fail .* 10\.0% of the load$/,
  );
});

test('the page has the section where failures are known, and is whole without', async () => {
  const assets = await builtAssets();
  assert.ok(hasFailures(recorded));
  assert.match(reportPage(recorded, assets), /id="failures-heading"/);
  const replays = recorded.replays.map(({ failureLosses: _, ...others }) => others);
  const before = { ...recorded, replays };
  assert.equal(hasFailures(before), false);
  assert.doesNotMatch(reportPage(before, assets), /id="failures-heading"/);
});

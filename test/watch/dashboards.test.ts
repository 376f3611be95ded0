/** The alert rules and the dashboard of the package: they fire as they should, and name what there is. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ExpertLoadBalancer, openMetrics } from 'expert-load-balancer';
import { parse } from 'yaml';
import { inTempDir } from '../helpers/cli.ts';
import { hasPromtool, promtool } from '../helpers/promtool.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const RULES = join(ROOT, 'dashboards/eplb-alerts.yml');
const RULE_TESTS = join(ROOT, 'test/watch/eplb-alerts-test.yml');
const DASHBOARD = join(ROOT, 'dashboards/eplb-grafana.json');
const CONDITIONS = ['LoadsArrive', 'PlansSucceed', 'MigrationProceeds', 'GainMeetsForecast', 'RanksAgree'];

/** What services that share etcd have beside the metrics of groups: test/serve/cluster.test.ts sees them. */
const OF_SERVICES = ['eplb_service_leads', 'eplb_etcd_answers'];

interface Rule {
  readonly alert: string;
  readonly expr: string;
}
const rules: readonly Rule[] = parse(readFileSync(RULES, 'utf8')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
);

/** All values of properties of a name, wherever they stand. */
function valuesOf(name: string, within: unknown): string[] {
  if (typeof within !== 'object' || within === null) return [];
  return Object.entries(within).flatMap(([key, value]) =>
    key === name && typeof value === 'string' ? [value] : valuesOf(name, value),
  );
}
const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'));
const expressions = [...valuesOf('expr', dashboard), ...valuesOf('query', dashboard)].filter((text) =>
  text.includes('eplb_'),
);

/** Every name that a scrape may hold. */
async function exportedNames(): Promise<Set<string>> {
  const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 };
  await using balancer = new ExpertLoadBalancer({ ...sizes, threads: 0 });
  const types = [...openMetrics(balancer).matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  const ends: Record<string, string[]> = { counter: ['_total'], histogram: ['_bucket', '_sum', '_count'] };
  return new Set(types.flatMap(([, name = '', type = '']) => (ends[type] ?? ['']).map((end) => name + end)));
}

test('rules and dashboard name metrics that are exported, and all but a few of them', async () => {
  const exported = new Set([...(await exportedNames()), ...OF_SERVICES]);
  const namesIn = (text: string) => text.match(/eplb_[a-z_]+/g) ?? [];
  const inRules = rules.flatMap(({ expr }) => namesIn(expr));
  const inTests = namesIn(readFileSync(RULE_TESTS, 'utf8'));
  const shown = expressions.flatMap(namesIn);
  const unknown = [...inRules, ...inTests, ...shown].filter((name) => !exported.has(name));
  assert.deepEqual(unknown, []);
  const used = new Set([...inRules, ...shown]);
  assert.deepEqual([...exported].filter((name) => !used.has(name) && !/_(sum|count)$/.test(name)).sort(), [
    'eplb_gain_unit_info',
    'eplb_group_info',
    'eplb_rank_load_ratio',
    'eplb_window_steps',
  ]);
  const conditions = rules.flatMap(({ expr }) => /condition="(\w+)"/.exec(expr)?.[1] ?? []);
  assert.deepEqual(conditions, CONDITIONS);
});

test('each alert fires on what it is for, and on nothing else', () => {
  const tested = readFileSync(RULE_TESTS, 'utf8');
  for (const { alert } of rules) {
    const fires = new RegExp(`alertname: ${alert}\\n +exp_alerts:`).test(tested);
    const rests = new RegExp(`alertname: ${alert} }`).test(tested);
    assert.ok(fires && rests, alert);
  }
  if (!hasPromtool()) return;
  assert.equal(promtool(['check', 'rules', RULES]).code, 0);
  const { code, said } = promtool(['test', 'rules', RULE_TESTS]);
  assert.equal(code, 0, said);
});

test('each query of the dashboard is one', async () => {
  assert.ok(expressions.length >= 25, String(expressions.length));
  const queries = valuesOf('expr', dashboard).map((expr) => expr.replaceAll('$__rate_interval', '5m'));
  const groups = [{ name: 'g', rules: queries.map((expr, i) => ({ record: `r${i}`, expr })) }];
  // YAML is a superset of JSON.
  await inTempDir(async (dir) => {
    if (!hasPromtool()) return;
    const file = join(dir, 'rules.yml');
    writeFileSync(file, JSON.stringify({ groups }));
    const { code, said } = promtool(['check', 'rules', file]);
    assert.equal(code, 0, said);
    assert.match(said, new RegExp(`${queries.length} rules found`));
  });
  const ids = dashboard.panels.map(({ id }: { id: number }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const { gridPos } of dashboard.panels) assert.ok(gridPos.x + gridPos.w <= 24);
});

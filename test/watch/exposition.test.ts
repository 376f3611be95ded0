/** The text of metrics, beside what prom-client writes of the same values, and by promtool. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type OpenMetricsContentType, type PrometheusContentType, Registry } from 'prom-client';
import { contentTypeOf, exposition, type MetricFamily } from '../../src/watch/exposition.ts';
import { Histogram } from '../../src/watch/histogram.ts';
import { SEED } from '../helpers/library.ts';
import { checkByPromtool } from '../helpers/promtool.ts';

const label = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.constantFrom('a\\b', 'a"b', 'a\nb', '{}', '\u00fc\u2603', '\ud83d\ude00', '\\n"'),
);
const value = fc.oneof(fc.double({ noNaN: true }), fc.nat(), fc.constantFrom(1e21, 1e-7));
const labels = fc.dictionary(fc.constantFrom('group', 'result', 'reason', 'rank'), label);

/** Families as they may come: of one name each, and each series once. */
const families = fc
  .array(
    fc.record({
      type: fc.constantFrom('gauge' as const, 'counter' as const),
      help: label,
      samples: fc.uniqueArray(fc.record({ labels, value }), {
        selector: (sample) => JSON.stringify(Object.entries(sample.labels).sort()),
        maxLength: 4,
      }),
    }),
    { maxLength: 4 },
  )
  .map((all) => all.map((family, i): MetricFamily => ({ name: `eplb_m${i}`, ...family })));

/** What prom-client makes of them. */
async function byPromClient(all: readonly MetricFamily[], format: 'openmetrics' | 'prometheus') {
  const registry = new Registry<OpenMetricsContentType | PrometheusContentType>();
  registry.setContentType(
    format === 'openmetrics' ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE,
  );
  assert.equal(registry.contentType, contentTypeOf(format));
  for (const { name, type, help, samples } of all) {
    const shown = type === 'counter' && format === 'prometheus' ? `${name}_total` : name;
    const values = samples.map(({ suffix, ...rest }) => ({
      ...rest,
      ...(suffix !== undefined && { metricName: shown + suffix }),
    }));
    const metric = { name: shown, help, type, values, get: async () => metric };
    registry.registerMetric(metric as never);
  }
  // It parts the families of the older format by empty lines.
  const text = await registry.metrics();
  return format === 'prometheus' ? text.replaceAll('\n\n', '\n') : text;
}

test('the text is what prom-client writes, in both formats', async () => {
  await fc.assert(
    fc.asyncProperty(families, async (all) => {
      for (const format of ['openmetrics', 'prometheus'] as const) {
        if (all.length > 0) assert.equal(exposition(all, format), await byPromClient(all, format));
      }
    }),
    { numRuns: 80, seed: SEED },
  );
  assert.equal(exposition([], 'openmetrics'), '# EOF\n');
  // It writes 'Nan' of these; the specification has NaN.
  const samples = [{ labels: {}, value: Number.NaN }];
  const text = exposition([{ name: 'a', type: 'gauge', help: 'b', samples }], 'openmetrics');
  assert.equal(text, '# HELP a b\n# TYPE a gauge\na NaN\n# EOF\n');
});

test('a histogram counts each value in its bucket and in all above, as a plain count does', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 4, noNaN: true })), (values) => {
      const bounds = [0.5, 1, 3];
      const histogram = new Histogram(bounds);
      for (const one of values) histogram.observe(one);
      const found = histogram.samples({ group: 'g' });
      const counts = bounds.map((bound) => values.filter((one) => one <= bound).length);
      assert.deepEqual(
        found.map(({ value: count }) => count),
        [...counts, values.length, values.reduce((sum, one) => sum + one, 0), values.length],
      );
      assert.deepEqual(
        found.map(({ suffix, labels: { le } }) => le ?? suffix),
        ['0.5', '1', '3', '+Inf', '_sum', '_count'],
      );
    }),
    { numRuns: 50, seed: SEED },
  );
});

test('promtool takes names that hold every sign', () => {
  const samples = [{ labels: { group: 'a"b\\c\nd {e}' }, value: 1 }];
  const help = 'with \\ and\na new line';
  checkByPromtool(exposition([{ name: 'eplb_epoch', type: 'gauge', help, samples }], 'prometheus'));
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as index from 'expert-load-balancer';
import * as formats from 'expert-load-balancer/formats';
import * as migration from 'expert-load-balancer/migration';
import * as replay from 'expert-load-balancer/replay';
import * as report from 'expert-load-balancer/report';
import * as serve from 'expert-load-balancer/serve';
import { apiReport, ENTRY_POINTS } from '../../scripts/api-report.ts';

// docs/api/ has every public name with its declaration, so that no change of the API goes unseen.

const EXPORTS: Readonly<Record<string, object>> = { index, formats, migration, replay, report, serve };

/** The lines of a text that another one does not have as often, with a sign before them. */
function linesOnlyIn(text: string, other: string, sign: string): string[] {
  const left = new Map<string, number>();
  for (const line of other.split('\n')) left.set(line, (left.get(line) ?? 0) + 1);
  return text.split('\n').flatMap((line) => {
    const times = left.get(line) ?? 0;
    left.set(line, times - 1);
    return times > 0 ? [] : [`${sign} ${line}`];
  });
}

for (const entry of ENTRY_POINTS.keys()) {
  test(`docs/api/${entry}.txt has the API as it is built`, () => {
    const built = apiReport(entry);
    const committed = readFileSync(new URL(`../../docs/api/${entry}.txt`, import.meta.url), 'utf8');
    if (built === committed) return;
    const changes = [...linesOnlyIn(committed, built, '-'), ...linesOnlyIn(built, committed, '+')];
    assert.fail(
      `the API is not the one in docs/api/${entry}.txt; if that is meant, run \`npm run api\` and commit it:\n${
        changes.join('\n') || 'the same lines, in another order'
      }`,
    );
  });

  test(`docs/api/${entry}.txt has every value that the built module exports`, () => {
    const declared = [...apiReport(entry).matchAll(/^(?:abstract class|class|function|const) (\w+)/gm)];
    const names = declared.map(([, name]) => name);
    const values = Object.keys(EXPORTS[entry]!);
    assert.ok(values.length > 0);
    assert.deepEqual(
      values.filter((name) => !names.includes(name)),
      [],
    );
  });
}

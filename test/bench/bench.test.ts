import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Report } from '../../bench/report.ts';

const run = fileURLToPath(new URL('../../bench/run.ts', import.meta.url));

/** Only that it runs, checks its results and writes what it found: no time is looked at. */
test('a quick benchmark of inline plans writes its report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'eplb-bench-'));
  try {
    const file = join(folder, 'report.json');
    const args = [
      '--import',
      'tsx',
      '--expose-gc',
      run,
      '--quick',
      '--only',
      'inline',
      '--seed',
      '7',
      '--json',
      file,
    ];
    const output = execFileSync(process.execPath, args, { encoding: 'utf8' });
    assert.match(output, /inline\/58x256->288\/zipf/);
    assert.match(output, /bars met: \d+ of \d+/);

    const report: Report = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(report.format, 2);
    assert.equal(report.seed, 7);
    assert.equal(report.isQuick, true);
    assert.equal(report.machine.node, process.version);
    assert.equal(report.figures.length, 8);
    for (const { id, unit, value, stats, bars } of report.figures) {
      assert.match(id, /^inline\/\d+x\d+->\d+\/(zipf|recorded)$/);
      assert.equal(unit, 'ms');
      assert.ok(value > 0 && stats !== undefined, id);
      assert.ok(stats.samples >= 3 && stats.min <= stats.median && stats.median <= stats.max, id);
      assert.ok(Array.isArray(bars), id);
    }
    const main = report.figures.find(({ id }) => id === 'inline/58x256->288/zipf');
    assert.equal(main?.bars.length, 2);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

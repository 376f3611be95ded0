import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import process from 'node:process';

const PROMTOOL = '/usr/bin/promtool';

/** Whether promtool is here. It has to be where NEED_PROMTOOL is set. */
export function hasPromtool(): boolean {
  if (existsSync(PROMTOOL)) return true;
  assert.equal(process.env.NEED_PROMTOOL, undefined, 'promtool has to be here');
  return false;
}

/** Runs promtool. @returns its exit code and all that it says */
export function promtool(args: readonly string[], input = ''): { code: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(PROMTOOL, args, { input, encoding: 'utf8' });
  return { code: status, said: stdout + stderr };
}

/** Asserts that promtool has nothing to say of metrics, where it is here. */
export function checkByPromtool(text: string): void {
  if (hasPromtool()) assert.deepEqual(promtool(['check', 'metrics'], text), { code: 0, said: '' });
}

/** Series by name and labels. */
export function seriesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

/** The rules of OpenMetrics that a scraper relies on. */
export function assertOpenMetrics(text: string): void {
  assert.ok(text.endsWith('# EOF\n'));
  const types = new Map<string, string>();
  for (const line of text.split('\n').slice(0, -2)) {
    const [mark, what, name = '', type = ''] = line.split(' ');
    if (mark === '#') {
      assert.ok(what === 'HELP' || what === 'TYPE', line);
      if (what === 'TYPE') {
        assert.ok(!types.has(name), `${name} comes twice`);
        types.set(name, type);
      }
      continue;
    }
    const series = /^[a-z_]+/.exec(line)![0];
    const [family, kind] = [...types].at(-1)!;
    const ends =
      kind === 'counter' ? ['_total'] : kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    assert.ok(
      ends.some((end) => series === family + end),
      `${series} in ${family}`,
    );
    assert.ok(series.startsWith('eplb_'));
    assert.doesNotMatch(family, /_(total|count|sum|bucket|milliseconds|ms)$/);
  }
}

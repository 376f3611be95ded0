import assert from 'node:assert/strict';
import type { Run } from './cli.ts';

/**
 * The command wrote one line to stderr, with one of the codes and the message, nothing to stdout, and ended
 * with 2.
 */
export function assertRefused(run: Run, codes: string, message: RegExp): void {
  assert.equal(run.stdout, '');
  const line = new RegExp(`^eplb: (.*) \\(EPLB_(?:${codes})\\)\\n$`).exec(run.stderr);
  assert.ok(line, run.stderr);
  assert.match(line[1]!, message);
  assert.equal(run.code, 2);
}

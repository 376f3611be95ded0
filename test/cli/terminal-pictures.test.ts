import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import picocolors from 'picocolors';
import { renderPictures } from '../../src/cli/replay/terminal-pictures.ts';
import type { ReplayResult } from '../../src/replay/result.ts';
import { exampleReport } from '../helpers/replay-report.ts';

function exampleReplay(numRanks: number, numLayers = 6): ReplayResult {
  return exampleReport({ numRanks, numLayers, policies: ['default'] }).replays[0]!;
}

const PLAIN = picocolors.createColors(false);

describe('the pictures of a replay', () => {
  test('fit the terminal, one map beside the other where there is room', () => {
    for (const columns of [20, 40, 60, 80, 132]) {
      for (const [numRanks, numLayers] of [
        [4, 6],
        [16, 26],
        [64, 58],
      ] as const) {
        const replay = exampleReplay(numRanks, numLayers);
        const lines = stripVTControlCharacters(renderPictures(replay, columns, PLAIN)).split('\n');
        const longest = Math.max(...lines.map((line) => line.length));
        assert.ok(longest <= columns, `${numRanks} ranks, ${columns} columns: ${longest}`);
        const both = lines.some((line) => /no balancing: .*default: /.test(line));
        assert.equal(both, columns >= (numRanks === 4 ? 40 : numRanks === 16 ? 80 : 132), lines.join('\n'));
      }
    }
  });

  test('show what is waited for, not loads that steps even out', () => {
    const replay = exampleReplay(2, 1);
    // Two ranks that take turns: over the steps as if nothing was wrong, in each a rank has twice the mean.
    const heatMap = {
      ...replay.heatMap,
      ...{ before: [[1, 1]], after: [[1, 1]] },
      ...{ p95Before: [[1.9, 1.9]], p95After: [[1.2, 0.7]] },
      ...{ maximumBefore: [1.95], maximumAfter: [1.25] },
    };
    const text = renderPictures({ ...replay, heatMap }, 80, PLAIN);
    assert.match(text, /what is waited for, in mean loads/);
    assert.match(text, /\n no balancing: 1\.95 +default: 1\.25\n/);
    assert.match(text, /\n +0 ██ +1\.95 +0 ▒ +1\.25\n/);
  });
});

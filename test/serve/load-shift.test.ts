/** When the fake engine says that the load has changed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoadShift } from '../../src/cli/fake-engine/shift.ts';
import { seededRandom } from '../helpers/arbitraries.ts';

/** Loads of 400 steps, drawn token by token from the shares of experts. @returns the steps told of */
function toldOf(tokensPerStep: number, sharesAt: (step: number) => readonly number[], seed = 7): number[] {
  const random = seededRandom(seed);
  const shift = new LoadShift(1, sharesAt(0).length);
  const told: number[] = [];
  for (let step = 0; step < 400; step++) {
    const shares = sharesAt(step);
    const loads = new Float32Array(shares.length);
    for (let token = 0; token < tokensPerStep; token++) {
      let left = random() * shares.reduce((sum, share) => sum + share, 0);
      let expert = 0;
      while (expert < shares.length - 1 && left >= shares[expert]!) left -= shares[expert++]!;
      loads[expert]!++;
    }
    const found = shift.take(loads);
    if (found !== undefined) told.push(step + 1 - found.numSteps);
  }
  return told;
}

const ONE = [8, 4, 2, 1, 1, 1, 1, 1];
const OTHER = [...ONE].reverse();

test('other domains are told of once each, whenever they begin', () => {
  assert.deepEqual(
    toldOf(500, (step) => (step < 200 ? ONE : OTHER)),
    [200],
  );
  assert.deepEqual(
    toldOf(500, (step) => (step % 200 < 105 ? ONE : OTHER)),
    [100, 200, 300],
  );
});

test('chance, a slow drift and the first steps are no other load', () => {
  for (let seed = 1; seed <= 20; seed++) {
    for (const tokens of [5, 50, 500]) {
      const told = toldOf(tokens, () => ONE, seed);
      assert.deepEqual(told, [], `${tokens} tokens, seed ${seed}`);
    }
  }
  const drifting = (step: number) => ONE.map((share, i) => share + (step / 400) * (OTHER[i]! - share));
  assert.deepEqual(toldOf(500, drifting), []);
  assert.deepEqual(
    toldOf(0, () => ONE),
    [],
  );
});

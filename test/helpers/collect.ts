import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { turn } from './library.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Collects what is unreachable, again and again, until a condition holds. */
export async function untilCollected(condition: () => boolean): Promise<void> {
  for (let looks = 0; !condition(); looks++) {
    assert.ok(looks < 100, `never came: ${condition}`);
    collect();
    await turn();
  }
}

/** Collects what is unreachable, and lets what follows from it happen. */
export async function collectAll(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await turn();
    collect();
  }
  await turn();
}

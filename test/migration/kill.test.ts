import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { seededRandom } from '../helpers/arbitraries.ts';
import { inTempDir } from '../helpers/cli.ts';

// A coordinator and ranks as processes, whose weights are files. They are killed at any point.

const NUM_KILLS = process.env.EPLB_LONG_RUNS === undefined ? 20 : 300;
const NUM_RANKS = 3;
const NUM_LAYERS = 4;
/** No run takes a tenth of it. */
const WATCHDOG_MS = 600_000;
/** As long as a group on a busy machine may take to come to itself. */
const PATIENCE_MS = 20_000;

const script = (name: string) => fileURLToPath(new URL(`../fixtures/migration/${name}.mjs`, import.meta.url));

interface Served {
  readonly step: number;
  readonly epoch: number;
  readonly digest: string;
  readonly served: string;
}

/** The lines of a log; the last may be cut off by a kill. */
function lines<T>(path: string): T[] {
  if (!existsSync(path)) return [];
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return whole.map((line) => JSON.parse(line) as T);
}

class Group {
  readonly #folder: string;
  readonly #startMs = Date.now();
  readonly #ranks: ChildProcess[] = [];
  #coordinator: ChildProcess;
  #numStarts = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#coordinator = this.#startCoordinator();
    for (let rank = 0; rank < NUM_RANKS; rank++) {
      mkdirSync(join(folder, `rank-${rank}`));
      this.#ranks.push(this.#startRank(rank));
    }
  }

  /** Kills one of the processes and starts it anew. */
  async kill(which: number): Promise<void> {
    if (which >= NUM_RANKS) {
      await killed(this.#coordinator);
      this.#coordinator = this.#startCoordinator();
      return;
    }
    await killed(this.#ranks[which]!);
    this.#checkFiles(which);
    if (this.#coordinator.connected) this.#coordinator.send({ lost: which });
    this.#ranks[which] = this.#startRank(which);
  }

  /** Waits until another operation has ended, but not for ever. */
  async progress(mostMs: number): Promise<void> {
    const before = this.outcomes().length;
    for (let ms = 0; ms < mostMs && this.outcomes().length === before; ms += 5) await sleep(5);
  }

  /** Waits until each rank serves at an epoch that was live after the last kill. */
  async recovered(): Promise<void> {
    const { length } = this.outcomes();
    const isBack = (rank: number) => {
      const since = this.outcomes()
        .slice(length)
        .find(({ epoch }) => epoch !== undefined);
      return since !== undefined && (this.served(rank).at(-1)?.epoch ?? -1) >= since.epoch!;
    };
    for (let rank = 0; rank < NUM_RANKS; rank++) {
      for (let ms = 0; !isBack(rank); ms += 20) {
        assert.ok(ms < PATIENCE_MS, `rank ${rank} does not come back`);
        await sleep(20);
      }
    }
  }

  /** How operations ended, as the host was told. */
  outcomes(): { readonly status: string; readonly epoch?: number }[] {
    return lines(join(this.#folder, 'outcomes.log'));
  }

  async end(): Promise<void> {
    await Promise.all([this.#coordinator, ...this.#ranks].map(killed));
  }

  served(rank: number): Served[] {
    return lines<Served>(join(this.#folder, `rank-${rank}`, 'served.log'));
  }

  /** Each layer is old or new as a whole; or the rank knows that it was being written. */
  #checkFiles(rank: number): void {
    const own = (name: string) => join(this.#folder, `rank-${rank}`, name);
    if (!existsSync(own('held')) || existsSync(own('swapping'))) return;
    const { digest } = JSON.parse(readFileSync(own('held'), 'utf8')) as { digest: string };
    const held = [...Array(NUM_LAYERS).keys()].map((layer) => readFileSync(own(`slots-${layer}`), 'utf8'));
    assert.equal(held.join('-'), digest, `rank ${rank}`);
  }

  #startCoordinator(): ChildProcess {
    return started('coordinator', [this.#folder, NUM_RANKS, NUM_LAYERS]);
  }

  #startRank(rank: number): ChildProcess {
    return started('rank', [this.#folder, rank, NUM_LAYERS, ++this.#numStarts, this.#startMs]);
  }
}

/** The library's part for migrations, in a file of its own: a process starts in half the time. */
async function bundle(folder: string): Promise<void> {
  const outfile = join(folder, 'migration.mjs');
  const contents = ['coordinator', 'file-journal', 'rank'].map((name) => `export * from './${name}.ts';`);
  const resolveDir = fileURLToPath(new URL('../../src/migration', import.meta.url));
  const stdin = { contents: contents.join(''), resolveDir };
  await build({ stdin, outfile, bundle: true, format: 'esm', platform: 'node', target: 'node20' });
  process.env.MIGRATION_MODULE = outfile;
}

function started(name: string, args: readonly (string | number)[]): ChildProcess {
  return fork(script(name), args.map(String), {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

async function killed(child: ChildProcess): Promise<void> {
  // Who ended by itself failed.
  assert.equal(child.exitCode, null);
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

test('processes that are killed at any point leave no step with two epochs', {
  timeout: WATCHDOG_MS,
}, async () => {
  await inTempDir(async (folder) => {
    await bundle(folder);
    const random = seededRandom(7);
    const group = new Group(folder);
    try {
      await group.progress(PATIENCE_MS);
      for (let i = 0; i < NUM_KILLS; i++) {
        await sleep(random() * 40);
        await group.kill(Math.floor(random() * (NUM_RANKS + 1)));
        // At times the next one is killed before the group has come to itself.
        await group.progress(random() < 0.3 ? 50 : 400);
      }
      await group.recovered();
    } finally {
      await group.end();
    }
    const epochs = new Map<number, Served>();
    for (let rank = 0; rank < NUM_RANKS; rank++) {
      for (const each of group.served(rank)) {
        assert.equal(each.served, each.digest, `rank ${rank} served other weights at step ${each.step}`);
        const other = epochs.get(each.step);
        if (other !== undefined) assert.equal(each.epoch, other.epoch, `step ${each.step}`);
        epochs.set(each.step, each);
      }
    }
    const outcomes = group.outcomes();
    const live = outcomes.filter(({ status }) => status !== 'aborted');
    assert.ok(live.length > 2, `${live.length} operations went live`);
    // Told epochs only grow, whoever told them.
    for (const [i, { epoch }] of live.entries()) assert.ok(i === 0 || epoch! > live[i - 1]!.epoch!);
    console.log(
      `${NUM_KILLS} kills, ${outcomes.length} operations, ${live.length} live, ${epochs.size} steps`,
    );
  });
});

/** A plain client that writes to etcd all the time: it shows when etcd itself took nothing. */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Etcd } from './etcd.ts';

/** A member that has said nothing by then is left for the next one. */
const PATIENCE_MS = 100;

export class EtcdControl {
  readonly #urls: readonly string[];
  /** When it was not written for longer than a look, in order: from then to then. */
  readonly #gaps: { readonly fromMs: number; readonly toMs: number }[] = [];
  readonly #writing: Promise<void>;
  #isOver = false;

  constructor(etcd: Etcd) {
    this.#urls = etcd.urls;
    this.#writing = this.#writes();
  }

  /** The longest time since a moment in which etcd took nothing. What had begun before counts from there. */
  longestGapMs(sinceMs: number): number {
    const lengths = this.#gaps.map(({ fromMs, toMs }) => toMs - Math.max(fromMs, sinceMs));
    return Math.max(0, ...lengths);
  }

  stop(): Promise<void> {
    this.#isOver = true;
    return this.#writing;
  }

  async #writes(): Promise<void> {
    let fromMs = performance.now();
    for (let i = 0; !this.#isOver; ) {
      const isTaken = await write(this.#urls[i % this.#urls.length]!);
      if (!isTaken) i++;
      else {
        const toMs = performance.now();
        if (toMs - fromMs > PATIENCE_MS) this.#gaps.push({ fromMs, toMs });
        fromMs = toMs;
      }
      await sleep(isTaken ? 20 : 5);
    }
  }
}

async function write(url: string): Promise<boolean> {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  try {
    const answer = await fetch(`${url}/v3/kv/put`, {
      method: 'POST',
      body: JSON.stringify({ key: base64('/control'), value: base64('x') }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    return false;
  }
}

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CLI, eplb } from './cli.ts';

/** An event as the engine prints it: its fields follow from its type. */
// biome-ignore lint/suspicious/noExplicitAny: what a program printed
export type EngineLine = { readonly type: string; readonly step: number } & Record<string, any>;

/** A fake engine in processes of its own, and what it has printed so far. */
export class EngineProcess {
  readonly child: ChildProcess;
  readonly events: EngineLine[] = [];
  readonly #closed: Promise<unknown>;
  #stderr = '';
  #changed: () => void = () => {};

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [CLI, 'fake-engine', '--json', ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // The ranks' processes have its output too: it is closed once all of them have ended.
    this.#closed = once(this.child, 'close').then(() => this.#changed());
    createInterface(this.child.stdout!).on('line', (line) => {
      this.events.push(JSON.parse(line));
      this.#changed();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.#stderr += text;
    });
  }

  get errors(): string {
    return this.#stderr;
  }

  /** The first event that fits, once it is there. */
  async until(fits: (event: EngineLine) => boolean): Promise<EngineLine> {
    for (;;) {
      const found = this.events.find(fits);
      if (found !== undefined) return found;
      assert.equal(this.child.exitCode, null, `ended: ${this.#stderr}\n${this.told()}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  command(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  /** Waits until it and all of its ranks have ended. @returns its exit code */
  async ended(): Promise<number | null> {
    await this.#closed;
    return this.child.exitCode;
  }

  /** All that it told, for messages. */
  told(): string {
    return this.events.map((event) => JSON.stringify(event)).join('\n');
  }

  ofType(type: string): EngineLine[] {
    return this.events.filter((event) => event.type === type);
  }
}

/** Writes a recording of two domains into a folder. @returns its path */
export async function makeRecording(dir: string): Promise<string> {
  const path = join(dir, 'loads.npy');
  const sizes = ['--layers', '2', '--experts', '8', '--top-k', '2', '--num-steps', '120'];
  const run = await eplb(['synth', ...sizes, '--domains', '2', '--skew', '1.2', '-o', path]);
  assert.equal(run.code, 0, run.stderr);
  return path;
}

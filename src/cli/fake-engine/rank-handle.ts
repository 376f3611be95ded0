import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { StepAnswer } from '../../migration/index.ts';
import type { FromRank, RankSetup, ToRank } from './messages.ts';

const MODULE = fileURLToPath(new URL('./fake-rank.js', import.meta.url));

/** What a rank's process tells, and its end. */
interface RankListener {
  onMessage(message: FromRank): void;
  onEnd(reason: string): void;
}

/** The process of a rank, as the engine has it. */
export class RankHandle {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isReady = false;
  #isGone = false;
  #answered: ((answer: StepAnswer | undefined) => void) | undefined;
  #served: ((tokens: number) => void) | undefined;

  /** Starts it. */
  constructor(setup: RankSetup, listener: RankListener) {
    this.#child = fork(MODULE, [], { serialization: 'advanced', execArgv: [], stdio: 'inherit' });
    this.#ended = new Promise((resolve) => {
      const end = (reason: string) => {
        if (this.#isGone) return;
        this.#isGone = true;
        this.#answered?.(undefined);
        this.#served?.(0);
        listener.onEnd(reason);
        resolve();
      };
      this.#child.on('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      this.#child.on('error', (error) => end(error.message));
    });
    this.#child.on('message', (message: FromRank) => {
      if (message.type === 'ready') this.#isReady = true;
      else if (message.type === 'answer') this.#answered?.(message.answer);
      else if (message.type === 'served') this.#served?.(message.tokens);
      listener.onMessage(message);
    });
    this.#send({ type: 'setup', setup });
  }

  /** Whether it takes part in steps. */
  get isReady(): boolean {
    return this.#isReady && !this.#isGone;
  }

  /** Asks whether it serves a step; undefined when it dies meanwhile. */
  begin(step: number): Promise<StepAnswer | undefined> {
    return new Promise((resolve) => {
      if (this.#isGone) return resolve(undefined);
      this.#answered = resolve;
      this.#send({ type: 'step', step });
    });
  }

  /** Has it serve a step that it said it would. @returns its tokens; 0 when it dies meanwhile */
  serve(step: number, loads: Float32Array, serving: readonly number[]): Promise<number> {
    return new Promise((resolve) => {
      if (this.#isGone) return resolve(0);
      this.#served = resolve;
      this.#send({ type: 'serve', step, loads, serving });
    });
  }

  /** Kills it as a fault would. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Ends it, and waits for that. */
  async end(): Promise<void> {
    this.#send({ type: 'end' });
    const timer = setTimeout(() => this.kill(), 2000);
    await this.#ended;
    clearTimeout(timer);
  }

  #send(message: ToRank): void {
    // One that has just died is heard of soon.
    if (this.#child.connected) this.#child.send(message, () => {});
  }
}

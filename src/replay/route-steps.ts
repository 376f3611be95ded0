import { show } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import type { RecordedRoutes, RouteRun } from '../formats/recording.ts';

/** Reads the tokens of a recording's steps, one after the other: a file that is packed is read once. */
export class RouteSteps {
  readonly #routes: RecordedRoutes;
  readonly #numLayers: number;
  #runs: AsyncIterator<RouteRun> | undefined;
  #run: RouteRun | undefined;

  constructor(routes: RecordedRoutes, numLayers: number) {
    this.#routes = routes;
    this.#numLayers = numLayers;
  }

  /**
   * Hands out the tokens of a step, which comes after those that were read before.
   * @param add gets ids [tokens x layers x topK], valid during the call
   */
  async read(step: number, add: (ids: Uint16Array, numTokens: number, topK: number) => void): Promise<void> {
    const { tokensPerStep, numTokens, topK } = this.#routes;
    const to = Math.min(numTokens, (step + 1) * tokensPerStep);
    const perToken = this.#numLayers * topK;
    let token = step * tokensPerStep;
    this.#runs ??= this.#routes.read({ from: token })[Symbol.asyncIterator]();
    while (token < to) {
      if (this.#run === undefined || this.#run.firstToken + this.#run.numTokens <= token) {
        const next = await this.#runs.next();
        if (next.done === true) return;
        this.#run = checkRun(next.value, perToken);
        continue;
      }
      const { firstToken, ids } = this.#run;
      const end = Math.min(to, firstToken + this.#run.numTokens);
      const first = token - firstToken;
      add(ids.subarray(first * perToken, (end - firstToken) * perToken), end - token, topK);
      token = end;
    }
  }

  /** Gives the file back. */
  async close(): Promise<void> {
    await this.#runs?.return?.();
  }
}

function checkRun(run: RouteRun, perToken: number): RouteRun {
  if (run.ids.length >= run.numTokens * perToken) return run;
  const what = `${run.numTokens} tokens have ${show(run.ids)}, not ${perToken} experts each`;
  throw new EplbRangeError('EPLB_SHAPE', `recording.routes: ${what}`);
}

import { readFileSync } from 'node:fs';
import { parse } from 'npyjs';

/** Loads of consecutive steps of one recording: each step [layers x experts]. */
export interface Steps {
  readonly loads: readonly Float32Array[];
  readonly numLayers: number;
  readonly numExperts: number;
}

export const TOKENS_PER_STEP = 128;

/** Counts how often the tokens of each step picked each expert, from routes [tokens x layers x topK] in a .npy file. */
export function readSteps(path: string, numExperts: number): Steps {
  const { data, shape } = parse(Uint8Array.from(readFileSync(path)).buffer);
  const [numTokens = 0, numLayers = 0, topK = 0] = shape;
  if (!(data instanceof Uint8Array) || shape.length !== 3)
    throw new Error(`${path}: not uint8 [tokens, layers, topK]`);
  const loads: Float32Array[] = [];
  const perStep = TOKENS_PER_STEP * numLayers * topK;
  for (let first = 0; first + perStep <= numTokens * numLayers * topK; first += perStep) {
    const step = new Float32Array(numLayers * numExperts);
    for (let i = first; i < first + perStep; i++) {
      step[(Math.floor(i / topK) % numLayers) * numExperts + data[i]!]! += 1;
    }
    loads.push(step);
  }
  return { loads, numLayers, numExperts };
}

/** The steps of several recordings one after the other: a real shift of domain. */
export function join(parts: readonly Steps[]): Steps {
  return { ...parts[0]!, loads: parts.flatMap(({ loads }) => loads) };
}

import { existsSync, readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { parse } from 'npyjs';

/** A recording and how it is planned for. */
export interface Row {
  readonly name: string;
  readonly steps: Steps;
  readonly numSlots: number;
  readonly numRanks: number;
  /** Steps that a plan sees, and steps from one plan to the next, which score it. */
  readonly window: number;
  readonly every: number;
}

/** Loads of consecutive steps of one recording: each step [layers x experts]. */
export interface Steps {
  readonly loads: readonly Float32Array[];
  readonly numLayers: number;
  readonly numExperts: number;
}

const TOKENS_PER_STEP = 128;

/**
 * Counts how often the tokens of each step picked each expert, from routes [tokens x layers x topK] in a .npy
 * file.
 */
export function readSteps(path: string, numExperts: number, tokensPerStep = TOKENS_PER_STEP): Steps {
  const { data, shape } = parse(Uint8Array.from(readFileSync(path)).buffer);
  const [numTokens = 0, numLayers = 0, topK = 0] = shape;
  if (!(data instanceof Uint8Array) || shape.length !== 3)
    throw new Error(`${path}: not uint8 [tokens, layers, topK]`);
  const loads: Float32Array[] = [];
  const perStep = tokensPerStep * numLayers * topK;
  for (let first = 0; first + perStep <= numTokens * numLayers * topK; first += perStep) {
    const step = new Float32Array(numLayers * numExperts);
    for (let i = first; i < first + perStep; i++) {
      step[(Math.floor(i / topK) % numLayers) * numExperts + data[i]!]! += 1;
    }
    loads.push(step);
  }
  return { loads, numLayers, numExperts };
}

/** The recordings in a directory, and how they are planned for; those that are not there are left out. */
export function rowsIn(directory: string): Row[] {
  const file = (name: string) => joinPath(directory, `${name}.routes.npy`);
  const lite = (name: string) => readSteps(file(`deepseek-v2-lite.${name}`), 64);
  const names = ['law', 'intent', 'summary'];
  const present = names.filter((name) => existsSync(file(`deepseek-v2-lite.${name}`)));
  const sizes = { numSlots: 80, numRanks: 16, window: 16, every: 8 };
  const rows: Row[] = present.map((name) => ({ ...sizes, name: `${name}, 16 ranks`, steps: lite(name) }));
  if (present.length === names.length) {
    const steps = join(rows.map((row) => row.steps));
    rows.unshift({ ...sizes, name: 'sequence, 8 ranks', steps, numRanks: 8 });
    rows.unshift({ ...sizes, name: 'sequence, 16 ranks', steps });
  }
  const gptOss = file('gpt-oss-20b.mmlu-pro');
  if (existsSync(gptOss)) {
    const steps = readSteps(gptOss, 32);
    rows.push({ name: 'gpt-oss, 8 ranks', steps, numSlots: 40, numRanks: 8, window: 8, every: 4 });
  }
  return rows;
}

/** The steps of several recordings one after the other: a real shift of domain. */
export function join(parts: readonly Steps[]): Steps {
  return { ...parts[0]!, loads: parts.flatMap(({ loads }) => loads) };
}

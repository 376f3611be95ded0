import { readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { parse } from 'npyjs';
import { join, readSteps, type Steps } from '../recordings.ts';
import { type RecordingName, type Source, sourceName } from './settings.ts';

/** Where the files are: `<family>-<seed>.npy`, and recorded routes. */
export interface Directories {
  readonly loads: string;
  readonly recordings: string | undefined;
}

/** Layers of a recording are much alike: every third one is as good as all, in a third of the time. */
const LAYER_STRIDE = 3;

export function readSource({ loads, recordings }: Directories, source: Source): Steps {
  if (source.kind === 'loads') return readLoads(joinPath(loads, `${sourceName(source)}.npy`));
  if (recordings === undefined) throw new Error('there is no directory of recordings');
  return readRecording(recordings, source.recording);
}

/** Loads [steps x layers x experts] of u1 or u4. */
function readLoads(path: string): Steps {
  const { data, shape } = parse(Uint8Array.from(readFileSync(path)).buffer);
  const [numSteps = 0, numLayers = 0, numExperts = 0] = shape;
  const isWhole = data instanceof Uint8Array || data instanceof Uint32Array;
  if (!isWhole || shape.length !== 3) {
    throw new Error(`${path}: not uint8 or uint32 [steps, layers, experts]`);
  }
  const size = numLayers * numExperts;
  const steps = Array.from({ length: numSteps }, (_, step) =>
    Float32Array.from(data.subarray(step * size, (step + 1) * size)),
  );
  return { loads: steps, numLayers, numExperts };
}

function readRecording(directory: string, name: RecordingName): Steps {
  const read = (file: string, numExperts: number) =>
    thin(readSteps(joinPath(directory, `${file}.routes.npy`), numExperts));
  const readLite = (part: string) => read(`deepseek-v2-lite.${part}`, 64);
  if (name === 'gpt-oss') return read('gpt-oss-20b.mmlu-pro', 32);
  return name === 'sequence' ? join(['law', 'intent', 'summary'].map(readLite)) : readLite(name);
}

function thin({ loads, numLayers, numExperts }: Steps): Steps {
  const layers = Array.from({ length: Math.ceil(numLayers / LAYER_STRIDE) }, (_, i) => i * LAYER_STRIDE);
  const thinned = loads.map((step) => {
    const some = new Float32Array(layers.length * numExperts);
    for (const [i, layer] of layers.entries()) {
      some.set(step.subarray(layer * numExperts, (layer + 1) * numExperts), i * numExperts);
    }
    return some;
  });
  return { loads: thinned, numLayers: layers.length, numExperts };
}

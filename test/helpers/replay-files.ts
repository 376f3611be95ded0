import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom } from './arbitraries.ts';
import { npyFile } from './npy.ts';

/** Sizes of {@link writeLoads}: 16 experts, which 20 slots on 4 ranks hold. */
export const LOADS = { numLayers: 3, numExperts: 16 };
/** Arguments that fit it. */
export const SIZES = ['--replicas', '20', '--ranks', '4', '--nodes', '2'];

/** A cost model with every field. */
export const COST = {
  name: 'mine',
  time: { kind: 'load', secondsPerLoad: 1e-6 },
  bytesPerExpert: 1,
  intraNodeBytesPerSecond: 1e9,
  interNodeBytesPerSecond: 1e8,
  concurrentTransfers: 'rank',
  countedMoves: 'rank',
  stepSeconds: 'modelled',
  zeroLoadsCountAsOne: false,
};

/** Writes seeded, skewed loads [steps, 3 layers, 16 experts] as .npy; the hot experts move half-way. */
export async function writeLoads(dir: string, name: string, numSteps: number): Promise<string> {
  const random = seededRandom(numSteps);
  const { numLayers, numExperts } = LOADS;
  const values = Array.from({ length: numSteps * numLayers * numExperts }, (_, at) => {
    const expert = at % numExperts;
    const step = Math.floor(at / (numLayers * numExperts));
    const hot = step < numSteps / 2 ? expert % 5 === 0 : expert % 5 === 2;
    return Math.floor((hot ? 600 : 100) * (0.5 + random()));
  });
  const path = join(dir, name);
  await writeFile(path, npyFile({ descr: '<i4', shape: [numSteps, numLayers, numExperts], values }));
  return path;
}

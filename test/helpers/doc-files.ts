import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExpertMapping } from 'expert-load-balancer';
import { placementFrom, writePlacement } from 'expert-load-balancer/formats';
import { seededRandom } from './arbitraries.ts';
import { h200Calibration } from './cost.ts';
import { npyFile } from './npy.ts';
import { tensorPickle, torchFile, whole } from './torch.ts';

// The files that the examples of a page read: what an engine would have written, with as many experts as the
// page says and only a few layers.

/** Writes the files of a page into the folder that its examples run in. */
export const PAGE_FILES: Readonly<Record<string, (dir: string) => Promise<void>>> = {
  'README.md': (dir) => writeLoads(join(dir, 'loads.npy'), [24, 2, 256]),
  'docs/cost.md': (dir) => writeFile(join(dir, 'measured.json'), JSON.stringify(h200Calibration())),
  'docs/formats.md': async (dir) => {
    await writeLoads(join(dir, 'loads.npy'), [16, 4, 8]);
    await writeMapping(dir, 'placement.json', 'sglang', shifted(4, 12, 8), 4);
  },
  'docs/serve.md': writeConfig,
  'docs/engines/sglang.md': writeSglang,
  'docs/engines/tensorrt-llm.md': writeTensorrtLlm,
  'docs/engines/vllm-ascend.md': writeVllmAscend,
  'docs/engines/omni-infer.md': writeOmniInfer,
  'docs/engines/vllm.md': writeRoutes,
};

/** The configuration that the page shows. */
async function writeConfig(dir: string): Promise<void> {
  const page = await readFile(new URL('../../docs/serve.md', import.meta.url), 'utf8');
  await writeFile(join(dir, 'eplb.yaml'), /```yaml\n(.*?)```/s.exec(page)![1]!);
}

/** Skewed whole loads. */
function loads(length: number): number[] {
  const random = seededRandom(1);
  return Array.from({ length }, (_, i) => Math.floor((i % 7 === 0 ? 300 : 60) * random()));
}

async function writeLoads(path: string, shape: readonly [number, number, number]): Promise<void> {
  const values = loads(shape[0] * shape[1] * shape[2]);
  await writeFile(path, npyFile({ descr: '<i4', shape, values }));
}

/** Experts in order, from another one on in each layer. */
function shifted(numLayers: number, numSlots: number, numExperts: number): ExpertMapping {
  const rows = Array.from({ length: numLayers }, (_, layer) =>
    Array.from({ length: numSlots }, (_, slot) => (slot + layer) % numExperts),
  );
  return ExpertMapping.fromPhysicalToLogical(rows, numExperts);
}

async function writeMapping(
  dir: string,
  name: string,
  format: string,
  mapping: ExpertMapping,
  numRanks: number,
): Promise<void> {
  const { bytes } = await writePlacement(placementFrom(mapping, { numRanks }), format);
  await writeFile(join(dir, name), bytes);
}

/** Mode stat: counts [steps, layers of the model, experts], of which the first three layers are dense. */
async function writeSglang(dir: string): Promise<void> {
  const [numSteps, numLayers, numExperts] = [16, 5, 256];
  const counts = Int32Array.from(loads(numSteps * numLayers * numExperts));
  for (let i = 0; i < counts.length; i++) {
    if (Math.floor(i / numExperts) % numLayers < 3) counts[i] = 0;
  }
  const dict = { rank: whole(0), logical_count: tensorPickle([numSteps, numLayers, numExperts]) };
  await mkdir(join(dir, 'records'));
  const name = 'expert_distribution_recorder_1751000000.25.pt';
  await writeFile(join(dir, 'records', name), torchFile(dict, [counts]));
}

/** Two ranks' counts of the iterations 100 and 101, in layers 3 and 4 of the model. */
async function writeTensorrtLlm(dir: string): Promise<void> {
  const numExperts = 256;
  const keys = ['100_3', '100_4', '101_3', '101_4'];
  const folder = join(dir, 'expert_statistic');
  await mkdir(folder);
  await writeFile(
    join(folder, 'meta_info.json'),
    JSON.stringify({ num_experts: numExperts, num_experts_per_token: 8 }),
  );
  for (const rank of [0, 1]) {
    const counts = BigInt64Array.from(loads(keys.length * numExperts), BigInt);
    const size = 8 * numExperts;
    const header = Object.fromEntries(
      keys.map((key, i) => [
        key,
        { dtype: 'I64', shape: [numExperts], data_offsets: [i * size, (i + 1) * size] },
      ]),
    );
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    await writeFile(
      join(folder, `rank${rank}.safetensors`),
      Buffer.concat([length, text, Buffer.from(counts.buffer)]),
    );
  }
}

/** The expert map of 128 experts in 144 slots, and loads of 16 devices of 8 experts. */
async function writeVllmAscend(dir: string): Promise<void> {
  const numLayers = 2;
  await writeMapping(dir, 'recorded.json', 'vllm-ascend', shifted(numLayers, 144, 128), 16);
  await mkdir(join(dir, 'decode_csv'));
  const counts = loads(numLayers * 128);
  for (let device = 0; device < 16; device++) {
    const rows = Array.from({ length: numLayers }, (_, layer) =>
      counts.slice(layer * 128 + device * 8, layer * 128 + (device + 1) * 8).join(','),
    );
    await writeFile(join(dir, 'decode_csv', `decode_${device}.csv`), `${rows.join('\n')}\n`);
  }
}

/** Eight steps of 32 ranks of 8 slots. */
async function writeOmniInfer(dir: string): Promise<void> {
  const [numSteps, numLayers, numRanks, slots] = [8, 2, 32, 8];
  const counts = loads(numSteps * numRanks * numLayers * slots);
  await mkdir(join(dir, 'dump'));
  for (let step = 0; step < numSteps; step++) {
    for (let rank = 0; rank < numRanks; rank++) {
      const lines = Array.from({ length: numLayers }, (_, layer) => {
        const at = ((step * numRanks + rank) * numLayers + layer) * slots;
        return `${counts.slice(at, at + slots).join('\t')}\t\n`;
      });
      const name = `activation_counts_recordstep_${step}_rank_${rank}.txt`;
      await writeFile(join(dir, 'dump', name), lines.join(''));
    }
  }
}

/** What np.save writes of int16 ids [tokens, layers, topK] of 128 experts. */
async function writeRoutes(dir: string): Promise<void> {
  const random = seededRandom(2);
  const [numTokens, numLayers, topK] = [8192, 2, 4];
  const values = Array.from({ length: numTokens * numLayers }, () => {
    const first = Math.floor(128 * random() ** 2);
    return Array.from({ length: topK }, (_, k) => (first + 31 * k) % 128);
  }).flat();
  const file = npyFile({ descr: '<i2', shape: [numTokens, numLayers, topK], values });
  await writeFile(join(dir, 'routes.npy'), file);
}

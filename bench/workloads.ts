import { readFileSync } from 'node:fs';
import type { LoadMatrix, Topology } from 'expert-load-balancer';
import { parse } from 'npyjs';
import { Random } from './random.ts';

/** How the loads of a workload are distributed over the experts of a layer. */
export type LoadKind = 'zipf' | 'log-normal' | 'recorded';

/** A planning problem: sizes, and loads that follow from the seed or a recording. */
export interface Workload {
  /** Layers, experts and slots, as in '58x256->288'. */
  readonly size: string;
  readonly kind: LoadKind;
  readonly topology: Topology;
  /** Whole token counts, [layers x logical]. */
  readonly loads: LoadMatrix;
}

/** The sizes with seeded loads. Where only ranks are known of a deployment, it is one node with one group. */
export const SIZES: readonly Topology[] = [
  sizeOf(58, 256, 288, 32, 4, 8),
  sizeOf(58, 256, 320, 64),
  sizeOf(94, 128, 160, 32),
  sizeOf(60, 384, 432, 48),
  sizeOf(92, 896, 1024, 16),
  sizeOf(64, 1024, 2048, 512, 16, 16),
  sizeOf(48, 512, 640, 128),
];

/** The size most figures are given for. */
export const MAIN_SIZE = SIZES[0]!;

/** DeepSeek-V2-Lite on two nodes, the size of the recording. */
export const RECORDED_SIZE = sizeOf(26, 64, 80, 16, 2, 8);

export function sizeName({ numLayers, numLogicalExperts, numPhysicalExperts }: Topology): string {
  return `${numLayers}x${numLogicalExperts}->${numPhysicalExperts}`;
}

export function sizeNamed(name: string): Topology {
  const found = SIZES.find((size) => sizeName(size) === name);
  if (found === undefined) throw new Error(`no size is called ${name}`);
  return found;
}

/** Makes a workload. The same seed gives the same loads, whatever else is made. */
export function makeWorkload(topology: Topology, kind: LoadKind, seed: number): Workload {
  const { numLayers, numLogicalExperts: numExperts } = topology;
  const size = sizeName(topology);
  const random = new Random(seed, `${size} ${kind}`);
  const data = new Float32Array(numLayers * numExperts);
  if (kind === 'recorded') countRoutes(data, numLayers, numExperts);
  else {
    for (let layer = 0; layer < numLayers; layer++) {
      FILL[kind](data.subarray(layer * numExperts, (layer + 1) * numExperts), random);
    }
  }
  return { size, kind, topology, loads: { data, numLayers, numExperts } };
}

const MEAN_TOKENS = 1000;

const FILL: Record<Exclude<LoadKind, 'recorded'>, (row: Float32Array, random: Random) => void> = {
  /**
   * The k-th most popular expert gets a share of 1 / k^s, give or take a tenth; s differs from layer to
   * layer.
   */
  zipf: (row, random) => {
    const exponent = random.between(0.4, 1.2);
    const popularity = random.permutation(row.length);
    const share = (k: number) => (k + 1) ** -exponent;
    let shares = 0;
    for (let k = 0; k < row.length; k++) shares += share(k);
    const scale = (MEAN_TOKENS * row.length) / shares;
    for (let k = 0; k < row.length; k++) {
      row[popularity[k]!] = Math.round(scale * share(k) * random.between(0.9, 1.1));
    }
  },
  'log-normal': (row, random) => {
    const spread = random.between(0.5, 1.2);
    const location = Math.log(MEAN_TOKENS) - spread ** 2 / 2;
    for (let i = 0; i < row.length; i++) row[i] = Math.round(Math.exp(location + spread * random.normal()));
  },
};

/** Adds up how often the recording's tokens picked each expert. */
function countRoutes(data: Float32Array, numLayers: number, numExperts: number): void {
  const file = readFileSync(new URL('../recordings/deepseek-v2-lite.law.routes.npy', import.meta.url));
  const routes = parse(Uint8Array.from(file).buffer);
  const [, layers = 0, topK = 0] = routes.shape;
  if (layers !== numLayers || !(routes.data instanceof Uint8Array)) {
    throw new Error(`the recording is not of ${numLayers} layers of bytes`);
  }
  for (let i = 0; i < routes.data.length; i++) {
    const layer = Math.floor(i / topK) % layers;
    data[layer * numExperts + routes.data[i]!]!++;
  }
}

function sizeOf(
  numLayers: number,
  numLogicalExperts: number,
  numPhysicalExperts: number,
  numRanks: number,
  numNodes = 1,
  numGroups = 1,
): Topology {
  return { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
}

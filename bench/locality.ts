/**
 * How many nodes a token's experts live on, planned on the first half of a recording and counted on both
 * halves: `tsx bench/locality.ts [FILE[:EXPERTS] ...]`, by default the recording that ships. The library must
 * be built.
 */
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import {
  type AbstractEplbPolicy,
  CoactivationRecorder,
  DefaultEplbPolicy,
  type ExpertMapping,
  type LoadMatrix,
  LocalityAwarePolicy,
  layerBalances,
  summarizeBalance,
} from 'expert-load-balancer';
import { parse } from 'npyjs';

const SHIPPED = fileURLToPath(new URL('../recordings/deepseek-v2-lite.law.routes.npy', import.meta.url));
const NODES = [4, 8];
const SLOTS_PER_EXPERT = [1, 1.25, 1.5, 2];
const EXPERTS_PER_RANK = 4;
const HEADINGS = ['nodes', 'ranks', 'slots', 'policy', 'nodes a token', 'balancedness', 'ms a layer'];

/** Routes [tokens x layers x topK], with the tokens divided in two halves. */
interface Recording {
  readonly name: string;
  readonly data: Uint8Array;
  readonly numTokens: number;
  readonly numLayers: number;
  readonly topK: number;
  readonly numExperts: number;
}

interface Topology {
  readonly slots: number;
  readonly nodes: number;
  readonly ranks: number;
}

/**
 * The table of all files, as text. A file is a .npy of routes, with `:EXPERTS` when the highest id does not
 * tell.
 */
function localityTable(files: readonly string[] = [SHIPPED]): string {
  return files.map((file) => tableOf(readRecording(file))).join('\n\n');
}

function tableOf(recording: Recording): string {
  const { name, numTokens, numLayers, numExperts, topK } = recording;
  const rows = [HEADINGS];
  for (const nodes of NODES) {
    for (const perExpert of SLOTS_PER_EXPERT) {
      const topology = { nodes, slots: perExpert * numExperts, ranks: numExperts / EXPERTS_PER_RANK };
      rows.push(...rowsOf(recording, topology));
    }
  }
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  return [
    `${name}: ${numTokens} tokens, ${numLayers} layers, ${topK} of ${numExperts} experts a token`,
    'nodes a token (exact least number that has all its experts), mean of all tokens and layers, and ' +
      'balancedness',
    '(mean / max rank load), mean of all layers: planned half -> next half',
    ...lines,
  ].join('\n');
}

function rowsOf(recording: Recording, topology: Topology): string[][] {
  const { numTokens, numLayers } = recording;
  const half = Math.floor(numTokens / 2);
  const planned = countLoads(recording, 0, half);
  const next = countLoads(recording, half, numTokens);
  const coactivation = countPairs(recording, half);
  const { nodes, slots, ranks } = topology;
  return [new DefaultEplbPolicy(), new LocalityAwarePolicy()].map((policy: AbstractEplbPolicy) => {
    const start = performance.now();
    const mapping = policy.rebalanceExperts(planned, slots, 1, nodes, ranks, { coactivation });
    const ms = (performance.now() - start) / numLayers;
    const balance = [planned, next].map((loads) => summarizeBalance(layerBalances(loads, mapping, ranks)));
    const before = nodesPerToken(recording, mapping, nodes, 0, half);
    const after = nodesPerToken(recording, mapping, nodes, half, numTokens);
    return [
      ...[nodes, ranks, slots].map(String),
      policy.name,
      `${before.toFixed(2)} -> ${after.toFixed(2)}`,
      balance.map(({ balancednessMeanOfRatios }) => balancednessMeanOfRatios.toFixed(3)).join(' -> '),
      ms.toFixed(2),
    ];
  });
}

function readRecording(argument: string): Recording {
  const [, path, experts] = /^(.*?)(?::(\d+))?$/.exec(argument)!;
  const { data, shape } = parse(new Uint8Array(readFileSync(path!)).buffer);
  const [numTokens, numLayers, topK] = shape;
  if (!(data instanceof Uint8Array) || shape.length !== 3)
    throw new Error(`${path}: not uint8 [tokens, layers, topK]`);
  const highest = data.reduce((most, id) => Math.max(most, id), 0);
  const numExperts = experts === undefined ? highest + 1 : Number(experts);
  return {
    name: basename(path!),
    data,
    numTokens: numTokens!,
    numLayers: numLayers!,
    topK: topK!,
    numExperts,
  };
}

function countLoads({ data, numLayers, topK, numExperts }: Recording, from: number, to: number): LoadMatrix {
  const loads = new Float32Array(numLayers * numExperts);
  for (let i = from * numLayers * topK; i < to * numLayers * topK; i++) {
    loads[(Math.floor(i / topK) % numLayers) * numExperts + data[i]!]! += 1;
  }
  return { data: loads, numLayers, numExperts };
}

function countPairs({ data, numLayers, topK, numExperts }: Recording, numTokens: number) {
  const recorder = new CoactivationRecorder({ numLayers, numExperts });
  recorder.record(data.subarray(0, numTokens * numLayers * topK), numTokens, topK);
  return recorder.matrix();
}

/**
 * The mean over tokens [from, to) and layers of the least number of nodes that together have all of a token's
 * experts.
 */
function nodesPerToken(
  { data, numLayers, topK }: Recording,
  mapping: ExpertMapping,
  numNodes: number,
  from: number,
  to: number,
): number {
  const nodesOf = nodeMasks(mapping, numNodes);
  const sets = Array.from({ length: 2 ** numNodes }, (_, set) => set).sort((a, b) => bits(a) - bits(b));
  const needed = new Int32Array(topK);
  let sum = 0;
  for (let row = from * numLayers; row < to * numLayers; row++) {
    const first = (row % numLayers) * mapping.numLogicalExperts;
    for (let k = 0; k < topK; k++) needed[k] = nodesOf[first + data[row * topK + k]!]!;
    sum += bits(sets.find((set) => needed.every((mask) => (mask & set) !== 0))!);
  }
  return sum / ((to - from) * numLayers);
}

/** The nodes of each expert of each layer, a bit each. */
function nodeMasks(mapping: ExpertMapping, numNodes: number): Int32Array {
  const { phyToLog, numLayers, numLogicalExperts, numPhysicalExperts } = mapping;
  const masks = new Int32Array(numLayers * numLogicalExperts);
  for (const [slot, expert] of phyToLog.entries()) {
    const layer = Math.floor(slot / numPhysicalExperts);
    const node = Math.floor(((slot % numPhysicalExperts) * numNodes) / numPhysicalExperts);
    masks[layer * numLogicalExperts + expert]! |= 1 << node;
  }
  return masks;
}

function bits(set: number): number {
  let n = 0;
  for (let left = set; left !== 0; left &= left - 1) n++;
  return n;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const files = process.argv.slice(2);
  console.log(files.length === 0 ? localityTable() : localityTable(files));
}

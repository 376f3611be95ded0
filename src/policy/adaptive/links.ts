import { EplbRangeError } from '../../core/errors.ts';
import { nodesOfRanks } from '../../core/nodes.ts';
import type { ThreadJob } from '../../engine/layer-kernel.ts';
import { checkLength } from '../../engine/layer-loads.ts';
import { adaptiveExports } from './kernel-exports.ts';
import type { AdaptiveRequest, AdaptiveScratch } from './request.ts';

/** Writes the node of each rank. */
export function writeNodes({ buffer, layout }: ThreadJob<AdaptiveRequest>, at: AdaptiveScratch): void {
  const { topology } = layout;
  new Int32Array(buffer, at.nodeOfRank, topology.numRanks).set(nodesOfRanks(topology));
}

/**
 * Prepares a layer's pairs: by its co-activation, or by the groups where there is none.
 *
 * @returns their sum: 0 where nothing tells which experts belong together
 * @throws EplbRangeError `EPLB_RANGE`, `EPLB_SHAPE` for a host's matrix that is not what it was when it was
 * looked at
 */
export function preparePairs(
  threadJob: ThreadJob<AdaptiveRequest>,
  at: AdaptiveScratch,
  layer: number,
): number {
  const { kernels, layout } = threadJob;
  const { numLogicalExperts, numGroups } = layout.topology;
  const hasPairs = readCoactivation(threadJob, at, layer);
  const matrix = hasPairs ? at.coactivation : 0;
  return adaptiveExports(kernels).preparePairs(
    matrix,
    at.ceilingLoads,
    numLogicalExperts,
    numGroups,
    at.pairs,
    at.layer,
  );
}

/**
 * Checks a layer's co-activation where links do not count, as they would on a single node.
 * @throws as {@link preparePairs}
 */
export function checkPairs({ layout, job }: ThreadJob<AdaptiveRequest>, layer: number): void {
  const { coactivation } = job;
  if (coactivation === undefined) return;
  const { numLayers, numLogicalExperts: n } = layout.topology;
  checkLength('coactivation.data', coactivation, numLayers * n * n);
  for (let i = 0; i < n * n; i++) {
    const value = coactivation[layer * n * n + i]!;
    const isFree = Math.floor(i / n) === i % n;
    if (!isFree && !(value >= 0 && value < Number.POSITIVE_INFINITY)) throw pairError(layer, n, i, value);
  }
}

function pairError(layer: number, numExperts: number, at: number, value: number): EplbRangeError {
  const where = `coactivation: layer ${layer}, experts ${Math.floor(at / numExperts)} and ${at % numExperts}`;
  return new EplbRangeError('EPLB_RANGE', `${where}: ${value} is not a finite number >= 0`);
}

/** Copies the layer's co-activation to scratch, and checks it there; false when there is none. */
function readCoactivation(
  { kernels, buffer, layout, job }: ThreadJob<AdaptiveRequest>,
  at: AdaptiveScratch,
  layer: number,
): boolean {
  const { coactivation } = job;
  if (coactivation === undefined) return false;
  const { numLayers, numLogicalExperts: n } = layout.topology;
  checkLength('coactivation.data', coactivation, numLayers * n * n);
  const values = new Float32Array(buffer, at.coactivation, n * n);
  values.set(coactivation.subarray(layer * n * n, (layer + 1) * n * n));
  // The diagonal may hold anything.
  for (let expert = 0; expert < n; expert++) values[expert * (n + 1)] = 0;
  const bad = kernels.firstInvalid(at.coactivation, n * n);
  if (bad === n * n) return true;
  throw pairError(layer, n, bad, values[bad]!);
}

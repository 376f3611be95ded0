import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';

/** Loads by the rank that tokens are on: `[layers x ranks x logical]`, finite and >= 0. */
export interface SourceLoads {
  readonly data: Float32Array;
  readonly numLayers: number;
  readonly numRanks: number;
  readonly numExperts: number;
}

/** Whether loads say on which rank tokens are. */
export function isBySource(loads: unknown): loads is SourceLoads {
  return typeof loads === 'object' && loads !== null && 'numRanks' in loads;
}

/**
 * Checks kind and shape, not the values.
 * @returns the loads themselves, no copy
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE`
 */
export function checkSourceLoads(
  title: string,
  loads: SourceLoads,
  topology: Pick<Topology, 'numLayers' | 'numRanks' | 'numLogicalExperts'>,
): Float32Array {
  const { data, numLayers, numRanks, numExperts } = loads;
  const { numLayers: layers, numRanks: ranks, numLogicalExperts: experts } = topology;
  if (!(data instanceof Float32Array))
    throw new EplbTypeError('EPLB_KIND', `${title}.data: ${show(data)} is not a Float32Array`);
  const isRight = numLayers === layers && numRanks === ranks && numExperts === experts;
  if (isRight && data.length === layers * ranks * experts) return data;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${title}: ${data.length} loads of ${numLayers} layers, ${numRanks} ranks and ${numExperts} experts ` +
      `are not those of ${layers} layers, ${ranks} ranks and ${experts} experts`,
  );
}

import { EplbRangeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import { checkMapping, type ExpertMapping, tablesOf } from './expert-mapping.ts';

/**
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_SHAPE` unless the mapping has the shape of the
 * topology
 */
export function checkShape(title: string, mapping: ExpertMapping, topology: Topology): void {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = tablesOf(checkMapping(title, mapping));
  const shape = [numLayers, numLogicalExperts, numPhysicalExperts];
  const wanted = [topology.numLayers, topology.numLogicalExperts, topology.numPhysicalExperts];
  if (shape.every((size, i) => size === wanted[i])) return;
  const text = ([layers, logical, physical]: number[]) =>
    `${layers} layers x ${logical} experts in ${physical} slots`;
  throw new EplbRangeError('EPLB_SHAPE', `${title}: is of ${text(shape)}, not ${text(wanted)}`);
}

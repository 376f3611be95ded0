import { EplbTypeError } from '../../core/errors.ts';
import { int32Npy } from '../write/npy.ts';
import type { NumberArray, PlacementFormat } from './placement.ts';
import { placementOf } from './three-tables.ts';
import { wholeTable } from './whole-table.ts';

/** One array: physical-to-logical [layers, physical], or logical-to-physical [layers, experts, width]. */
export const tablesNpy: PlacementFormat = {
  name: 'tables-npy',
  holds: 'placements',
  description:
    'one table of DeepSeek EPLB or vLLM: .npy [layers, slots], or logical-to-physical [layers, experts, ' +
    'width]',
  extensions: ['.npy'],
  recognise: (content) =>
    content.container === 'npy' &&
    [2, 3].includes(content.array.shape.length) &&
    looksLikeTable(content.array),
  read: (content, name) => {
    if (content.container !== 'npy')
      throw new EplbTypeError('EPLB_KIND', `${name}: is a ${content.container} file; a table is a .npy file`);
    const table = wholeTable(content.array, [2, 3], name);
    return placementOf(
      table.shape.length === 2 ? { phyToLog: table } : { logToPhy: table },
      tablesNpy.name,
      name,
    );
  },
  write: ({ slots, numLayers, numPhysicalExperts }) => ({
    bytes: int32Npy(slots, [numLayers, numPhysicalExperts]),
    notes: [],
  }),
};

/** Whether numbers could be a table of slots or experts: whole, from -1 on. */
function looksLikeTable({ data }: NumberArray): boolean {
  for (let i = 0; i < data.length; i++) if (!(Number.isInteger(data[i]) && data[i]! >= -1)) return false;
  return true;
}

import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { isList } from '../json/value.ts';
import { kindOf } from '../text.ts';
import type { Content, Placement, PlacementFormat } from './placement.ts';
import { expertsIn, nestedTable, rowsOf } from './whole-table.ts';

/** vLLM's start-up map (its pull request 49572): the slots of each layer, or one row for all of them. */
export const vllmMap: PlacementFormat = {
  name: 'vllm-map',
  holds: 'placements',
  description: 'vLLM start-up map (PR 49572): JSON [[experts of the slots], ...] of the layers, or one row',
  extensions: [],
  // Rows alone are read by the same table under its other name.
  recognise: (content) => {
    const row = content.container === 'json' ? content.value : undefined;
    if (!isList(row) || row.length === 0) return false;
    for (let i = 0; i < row.length; i++) if (!Number.isInteger(row[i])) return false;
    return true;
  },
  read,
  write: ({ slots, numPhysicalExperts }) => {
    if (slots.includes(-1)) {
      throw new EplbRangeError('EPLB_MAPPING', 'vllm-map has no empty slots; the placement has some');
    }
    const lines = rowsOf(slots, numPhysicalExperts).map((row) => `  ${JSON.stringify(row)}`);
    return { bytes: new TextEncoder().encode(`[\n${lines.join(',\n')}\n]\n`), notes: [] };
  },
};

function read(content: Content, name: string): Placement {
  const value = content.container === 'json' ? content.value : undefined;
  if (!isList(value)) {
    const found = content.container === 'json' ? kindOf(value) : `a ${content.container} file`;
    throw new EplbTypeError('EPLB_KIND', `${name} is ${found}; rows of experts in JSON are wanted`);
  }
  const isRow = !isList(value[0]);
  const { data, shape } = nestedTable(isRow ? [value] : value, [2], name);
  return {
    format: vllmMap.name,
    numLayers: shape[0]!,
    numPhysicalExperts: shape[1]!,
    numLogicalExperts: expertsIn(data),
    slots: data,
    notes: isRow ? ['it has one row, which vLLM takes for every layer: it was read as one layer'] : [],
  };
}

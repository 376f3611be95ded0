import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { counted } from '../number-text.ts';
import { kindOf } from '../text.ts';
import type {
  Content,
  NumberArray,
  Placement,
  PlacementFormat,
  PlacementReadOptions,
  PlacementWriteOptions,
  WrittenPlacement,
} from './placement.ts';
import { checkExpansion } from './table-limits.ts';
import { numbersFrom } from './tensorrt-llm.ts';
import { expertsIn, nestedTable, rowsOf, type WholeTable, wholeTable } from './whole-table.ts';

const ROWS_KEY = 'physical_to_logical_map';
const CONTENT = `{"${ROWS_KEY}": [all layers of the model][slots]}`;
const OTHER_TABLES = ['logical_to_physical_map', 'logical_replica_count'];

/**
 * What SGLang's `--init-expert-location` takes. SGLang has a row for every layer of the model and looks one
 * up by the model's layer number (`ExpertLocationMetadata`, with as many layers as the model), so dense
 * layers have rows too.
 */
export const sglang: PlacementFormat = {
  name: 'sglang',
  holds: 'placements',
  description: `SGLang --init-expert-location: .json or .pt ${CONTENT}`,
  extensions: ['.json'],
  recognise: (content) => {
    const value = rowsIn(content);
    if (value === undefined) return false;
    // With the other tables beside it, it is DeepSeek's or vLLM's.
    return !OTHER_TABLES.some((key) => Object.hasOwn(value, key));
  },
  read,
  write,
};

function rowsIn(content: Content): Record<string, unknown> | undefined {
  if (content.container !== 'json' && content.container !== 'pt') return undefined;
  const { value } = content;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, ROWS_KEY)) return undefined;
  return value as Record<string, unknown>;
}

function read(content: Content, name: string, { denseRows = 0 }: PlacementReadOptions): Placement {
  const root = content.container === 'npy' ? { [ROWS_KEY]: content.array } : rowsIn(content);
  if (root === undefined) {
    const found = 'value' in content ? kindOf(content.value) : `a ${content.container} file`;
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: it is ${found}; it must be {"${ROWS_KEY}": [layers][physical]}`,
    );
  }
  const { data, shape } = anyTable(root[ROWS_KEY], `${name}: ${ROWS_KEY}`);
  const [numRows, numPhysicalExperts] = shape as [number, number];
  const numLayers = numRows - denseRows;
  if (numLayers < 1) {
    throw new EplbRangeError('EPLB_OPTION', `--dense-rows: ${denseRows}, but ${name} has ${numRows} rows`);
  }
  const slots = data.slice(denseRows * numPhysicalExperts);
  const placement = {
    format: sglang.name,
    numLayers,
    numPhysicalExperts,
    numLogicalExperts: expertsIn(slots),
    slots,
  };
  if (denseRows === 0) return { ...placement, notes: [] };
  return {
    ...placement,
    layerNumbers: Array.from({ length: numLayers }, (_, layer) => layer + denseRows),
    notes: [`${counted(denseRows, 'row')} of dense layers left out`],
  };
}

/** A table that text holds as nested arrays and torch as a tensor. */
function anyTable(value: unknown, path: string): WholeTable {
  const isTensor = typeof value === 'object' && value !== null && 'shape' in value && 'data' in value;
  return isTensor ? wholeTable(value as NumberArray, [2], path) : nestedTable(value, [2], path);
}

function write(placement: Placement, options: PlacementWriteOptions): WrittenPlacement {
  const { slots, numPhysicalExperts, numLogicalExperts } = placement;
  if (slots.includes(-1)) {
    throw new EplbRangeError('EPLB_MAPPING', 'sglang has no empty slots; the placement has some');
  }
  const numbers = numbersFrom(options.firstLayer, placement);
  // The numbers are a file's or a user's, and may be any.
  checkExpansion((numbers.at(-1)! + 1) * numPhysicalExperts, slots.length, 'sglang: a row for every layer');
  const rows = rowsOf(slots, numPhysicalExperts);
  // A layer without experts of its own gets what SGLang's own trivial location gives it.
  const dense = Array.from({ length: numPhysicalExperts }, (_, slot) => slot % numLogicalExperts);
  const all: number[][] = [];
  for (const [i, number] of numbers.entries()) {
    while (all.length < number) all.push(dense);
    all.push(rows[i]!);
  }
  const added = all.length - rows.length;
  const lines = all.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
  return {
    bytes: new TextEncoder().encode(`{"${ROWS_KEY}": [\n${lines}\n]}\n`),
    notes:
      added === 0
        ? []
        : [`${counted(added, 'row')} of dense layers put in: SGLang wants one for every layer of the model`],
  };
}

import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { isList } from '../json/value.ts';
import { kindOf } from '../text.ts';
import type {
  Content,
  Placement,
  PlacementFormat,
  PlacementWriteOptions,
  WrittenPlacement,
} from './placement.ts';
import { checkFilledUp } from './table-limits.ts';
import { expertsIn, nestedTable, rowsOf, wholeNumber } from './whole-table.ts';

const ROWS_KEY = 'initial_global_assignments';
const SLOTS_KEY = 'num_slots';
const UPDATES_KEY = 'layer_updates_per_iter';

/**
 * `moe_load_balancer.yaml` of TensorRT-LLM: the model's layer number to the experts of all slots. Its keys
 * are those of `MoeLoadBalancerConfig`, which takes no others.
 */
export const tensorrtLlm: PlacementFormat = {
  name: 'tensorrt-llm',
  holds: 'placements',
  description:
    `TensorRT-LLM moe_load_balancer.yaml: ${SLOTS_KEY}, ${ROWS_KEY} {model's layer: experts of ` +
    'the slots}',
  extensions: ['.yaml', '.yml'],
  recognise: (content) => fields(content) !== undefined,
  read,
  write,
};

/** The fields of the file, or undefined when it is another. */
function fields(content: Content): Record<string, unknown> | undefined {
  if (content.container !== 'yaml' && content.container !== 'json') return undefined;
  const { value } = content;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, SLOTS_KEY) || Object.hasOwn(value, ROWS_KEY)
    ? (value as Record<string, unknown>)
    : undefined;
}

function read(content: Content, name: string): Placement {
  const root = fields(content);
  if (root === undefined) {
    throw new EplbTypeError('EPLB_KIND', `${name}: no map with ${SLOTS_KEY} and ${ROWS_KEY}`);
  }
  const given = Object.hasOwn(root, ROWS_KEY) ? root[ROWS_KEY] : undefined;
  if (given === undefined || given === null) {
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: it has no ${ROWS_KEY}, so it places nothing: TensorRT-LLM plans online`,
    );
  }
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: ${ROWS_KEY} is ${kindOf(given)}; it must map layers to rows`,
    );
  }
  const layers = Object.entries(given).map(([key, row]) => ({
    layer: layerNumber(key, name),
    row: row as unknown,
  }));
  layers.sort((a, b) => a.layer - b.layer);
  const twice = layers.find(({ layer }, i) => i > 0 && layers[i - 1]!.layer === layer);
  if (twice !== undefined) {
    throw new EplbRangeError('EPLB_MAPPING', `${name}: ${ROWS_KEY} has layer ${twice.layer} twice`);
  }
  const { data, shape } = rowTable(layers, name);
  const numSlots = Object.hasOwn(root, SLOTS_KEY) ? root[SLOTS_KEY] : undefined;
  if (numSlots !== undefined && wholeNumber(numSlots, 1, () => `${name}: ${SLOTS_KEY}`) !== shape[1]) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: ${SLOTS_KEY} is ${numSlots}, the rows have ${shape[1]} slots`,
    );
  }
  return {
    format: tensorrtLlm.name,
    numLayers: shape[0]!,
    numPhysicalExperts: shape[1]!,
    numLogicalExperts: expertsIn(data),
    slots: data,
    layerNumbers: layers.map(({ layer }) => layer),
    notes: readNotes(root, layers[0]!.layer, layers.length),
  };
}

function rowTable(layers: readonly { layer: number; row: unknown }[], name: string) {
  const first = layers[0]?.row;
  const width = isList(first) ? first.length : 0;
  for (const { layer, row } of layers) {
    if (!isList(row)) {
      throw new EplbTypeError(
        'EPLB_KIND',
        `${name}: layer ${layer} is ${kindOf(row)}; it must be a row of experts`,
      );
    }
    if (row.length === width) continue;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name}: layer ${layer} has ${row.length} slots, layer ${layers[0]!.layer} has ${width}`,
    );
  }
  // A row that several layers share stands in the file once.
  const distinct = new Set(layers.map(({ row }) => row));
  checkFilledUp(layers.length * width, distinct.size * width, name);
  return nestedTable(
    layers.map(({ row }) => row),
    [2],
    `${name}: ${ROWS_KEY}`,
  );
}

function layerNumber(key: string, name: string): number {
  if (/^\d{1,7}$/.test(key)) return Number(key);
  throw new EplbRangeError(
    'EPLB_MAPPING',
    `${name}: ${ROWS_KEY} has the key ${kindOf(key)}, which is not a layer`,
  );
}

function readNotes(root: Record<string, unknown>, first: number, numLayers: number): string[] {
  const notes = [`layers are the model's ${first} and following (${numLayers}), counted from 0 here`];
  const updates = Object.hasOwn(root, UPDATES_KEY) ? root[UPDATES_KEY] : 0;
  if (updates !== 0)
    notes.push(`${UPDATES_KEY} is ${kindOf(updates)}: TensorRT-LLM goes on to replan this placement`);
  return notes;
}

async function write(placement: Placement, options: PlacementWriteOptions): Promise<WrittenPlacement> {
  const { slots, numPhysicalExperts, numLayers } = placement;
  if (slots.includes(-1)) {
    throw new EplbRangeError('EPLB_MAPPING', 'tensorrt-llm has no empty slots; the placement has some');
  }
  const told = options.firstLayer !== undefined || placement.layerNumbers !== undefined;
  const layerNumbers = numbersFrom(options.firstLayer, placement);
  const { Document } = await import('yaml');
  const document = new Document({ [SLOTS_KEY]: numPhysicalExperts });
  const rows = rowsOf(slots, numPhysicalExperts);
  const assignments = document.createNode(new Map(layerNumbers.map((layer, i) => [layer, rows[i]])));
  for (const { value } of assignments.items) (value as { flow?: boolean }).flow = true;
  document.set(ROWS_KEY, assignments);
  document.set(UPDATES_KEY, 0);
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: false });
  const last = layerNumbers[numLayers - 1];
  return {
    bytes: new TextEncoder().encode(text),
    notes: [
      told
        ? `layers are numbered ${layerNumbers[0]} to ${last}, as the model counts them`
        : `layers are numbered from 0: give --first-layer when the model's first layers have no experts ` +
          '(DeepSeek-R1: 3)',
    ],
  };
}

/**
 * The model's numbers of a placement's layers: from `firstLayer` on when given, else the placement's own,
 * else from 0.
 */
export function numbersFrom(firstLayer: number | undefined, placement: Placement): readonly number[] {
  const { numLayers, layerNumbers } = placement;
  if (layerNumbers !== undefined && layerNumbers.length !== numLayers) {
    throw new EplbError('EPLB_INTERNAL', `${layerNumbers.length} layer numbers for ${numLayers} layers`);
  }
  if (firstLayer === undefined && layerNumbers !== undefined) return layerNumbers;
  return Array.from({ length: numLayers }, (_, layer) => layer + (firstLayer ?? 0));
}

import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { isList, type List } from '../json/value.ts';
import { kindOf } from '../text.ts';
import { inspectPlacement } from './inspect.ts';
import type {
  Content,
  Placement,
  PlacementFormat,
  PlacementWriteOptions,
  WrittenPlacement,
} from './placement.ts';
import { checkFilledUp } from './table-limits.ts';
import { expertsIn, rowsOf, wholeNumber } from './whole-table.ts';

/**
 * `expert_map.json` of vllm-ascend and MindIE. vllm-ascend goes by the places in its lists, not by `layer_id`
 * and `device_id`, and so does this reader; where they disagree, that is a note.
 */
export const vllmAscend: PlacementFormat = {
  name: 'vllm-ascend',
  holds: 'placements',
  description:
    'vllm-ascend and MindIE expert_map.json: moe_layer_count, layer_list of device_list of device_expert',
  extensions: ['expert_map.json'],
  recognise: (content) =>
    content.container === 'json' && isObject(content.value) && Object.hasOwn(content.value, 'layer_list'),
  read,
  write,
};

function read(content: Content, name: string): Placement {
  const root = content.container === 'json' ? content.value : undefined;
  const layers = listIn(root, 'layer_list', name);
  const notes: string[] = [];
  const devices = Array.from(layers, (layer, i) => listIn(layer, 'device_list', `${name}: layer_list[${i}]`));
  const numRanks = devices[0]!.length;
  const rows = devices.map((list, i) => {
    const place = `${name}: layer_list[${i}]`;
    if (list.length !== numRanks) {
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `${place} has ${list.length} devices, layer_list[0] has ${numRanks}`,
      );
    }
    checkCount(layers[i], 'device_count', list.length, place);
    noteOrder(layers[i], 'layer_id', i, 'layer_list', notes);
    return Array.from(list, (device, rank) => {
      if (i === 0) noteOrder(device, 'device_id', rank, 'device_list', notes);
      return expertsOf(device, `${place}.device_list[${rank}]`);
    });
  });
  checkCount(root, 'moe_layer_count', layers.length, name);
  const slotsPerRank = rows.reduce(
    (most, row) => row.reduce((m, { length }) => Math.max(m, length), most),
    0,
  );
  const slots = flatten(rows, numRanks, slotsPerRank, name);
  if (rows.some((row) => row.some(({ length }) => length < slotsPerRank))) {
    notes.push(
      `some devices hold fewer than ${slotsPerRank} experts: the slots that they lack are empty here`,
    );
  }
  return {
    format: vllmAscend.name,
    numLayers: layers.length,
    numPhysicalExperts: numRanks * slotsPerRank,
    numLogicalExperts: expertsIn(slots),
    slots,
    numRanks,
    notes,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listIn(value: unknown, key: string, place: string): List {
  const list = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  if (isList(list) && list.length > 0) return list;
  const found = isObject(value)
    ? `${key} is ${list === undefined ? 'missing' : kindOf(list)}`
    : `it is ${kindOf(value)}`;
  throw new EplbTypeError('EPLB_KIND', `${place}: ${found}; a list ${key} with at least one entry is wanted`);
}

function expertsOf(device: unknown, place: string): ArrayLike<number> {
  const list = isObject(device) && Object.hasOwn(device, 'device_expert') ? device.device_expert : undefined;
  if (!isList(list))
    throw new EplbTypeError('EPLB_KIND', `${place}: has no list device_expert; each device has one`);
  for (let i = 0; i < list.length; i++) wholeNumber(list[i], 0, () => `${place}.device_expert[${i}]`);
  return list as ArrayLike<number>;
}

function checkCount(value: unknown, key: string, found: number, place: string): void {
  if (!isObject(value) || !Object.hasOwn(value, key) || value[key] === found) return;
  throw new EplbRangeError('EPLB_SHAPE', `${place}: ${key} is ${kindOf(value[key])}, the list has ${found}`);
}

/** Says once for a list that its ids are not its places. */
function noteOrder(value: unknown, key: string, place: number, list: string, notes: string[]): void {
  if (!isObject(value) || !Object.hasOwn(value, key) || value[key] === place) return;
  const note =
    `${key} is not its entry's place in ${list} (${kindOf(value[key])} stands at ${place}): ` +
    'read by place';
  if (!notes.some((other) => other.startsWith(key))) notes.push(note);
}

function flatten(
  rows: readonly (readonly ArrayLike<number>[])[],
  numRanks: number,
  width: number,
  name: string,
) {
  const numSlots = rows.length * numRanks * width;
  if (numSlots === 0) throw new EplbRangeError('EPLB_SHAPE', `${name}: no device holds an expert`);
  const held = rows.reduce((sum, row) => row.reduce((inRow, { length }) => inRow + length, sum), 0);
  checkFilledUp(numSlots, held, name);
  const slots = new Int32Array(numSlots).fill(-1);
  rows.forEach((row, layer) => {
    row.forEach((experts, rank) => {
      slots.set(experts, (layer * numRanks + rank) * width);
    });
  });
  return slots;
}

function write(placement: Placement, options: PlacementWriteOptions): WrittenPlacement {
  const { slots, numLayers, numPhysicalExperts } = placement;
  const numRanks = ranksFor(vllmAscend.name, placement, options);
  const slotsPerRank = numPhysicalExperts / numRanks;
  const lines = Array.from({ length: numLayers }, (_, layer) => {
    const row = slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
    const device_list = rowsOf(row, slotsPerRank).map((experts, device_id) => ({
      device_id,
      device_expert: experts.filter((expert) => expert >= 0),
    }));
    return `  ${JSON.stringify({ layer_id: layer, device_count: numRanks, device_list })}`;
  });
  return {
    bytes: new TextEncoder().encode(
      `{"moe_layer_count": ${numLayers}, "layer_list": [\n${lines.join(',\n')}\n]}\n`,
    ),
    notes: writeNotes(placement, numRanks),
  };
}

function writeNotes(placement: Placement, numRanks: number): string[] {
  const { empty, duplicates } = inspectPlacement(placement, numRanks);
  const notes: string[] = [];
  if (empty !== undefined) notes.push('empty slots left out: devices hold different numbers of experts');
  if (duplicates !== undefined) {
    notes.push(
      `vllm-ascend refuses an expert twice on a device: ${duplicates.count} times, ${duplicates.first}`,
    );
  }
  return notes;
}

/** The ranks that a file is written for. @throws EplbError EPLB_OPTION, EplbRangeError EPLB_TOPOLOGY */
export function ranksFor(format: string, placement: Placement, options: PlacementWriteOptions): number {
  const numRanks = options.numRanks ?? placement.numRanks;
  if (numRanks === undefined) {
    throw new EplbError(
      'EPLB_OPTION',
      `--ranks: a ${format} file lists what each rank holds; give the number of ranks`,
    );
  }
  if (placement.numPhysicalExperts % numRanks === 0) return numRanks;
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--ranks: ${numRanks} ranks do not divide the ${placement.numPhysicalExperts} slots evenly`,
  );
}

import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { Content, Placement, PlacementFormat, WrittenPlacement } from './placement.ts';
import { tensorrtLlm } from './tensorrt-llm.ts';
import { rowsOf } from './whole-table.ts';

const TYPE = 'eplb_initial_mapping';
const REDUNDANT_KEY = 'num_redundant_experts';

/**
 * vLLM's mapping in JSON Lines (its pull request 41141): a record of the slots of each MoE layer, counted
 * from 0. Other records in the file are skipped.
 */
export const vllmMapping: PlacementFormat = {
  name: 'vllm-mapping',
  holds: 'placements',
  description: `vLLM JSON Lines (PR 41141): {"record_type": "${TYPE}", "initial_global_assignments": {layer: experts}}`,
  extensions: ['.jsonl'],
  recognise: (content) => recordIn(content) !== undefined,
  read,
  write,
};

function recordIn(content: Content): Record<string, unknown> | undefined {
  if (content.container !== 'json') return undefined;
  const { value } = content;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const record = value as Record<string, unknown>;
  return Object.hasOwn(record, 'record_type') && record.record_type === TYPE ? record : undefined;
}

function read(content: Content, name: string): Placement {
  const record = recordIn(content);
  if (record === undefined) {
    throw new EplbTypeError('EPLB_KIND', `${name}: no record of the type ${TYPE}`);
  }
  const { num_slots, initial_global_assignments, version } = record;
  if (version !== undefined && version !== 1) {
    throw new EplbRangeError('EPLB_SHAPE', `${name}: version ${String(version)}; version 1 is read`);
  }
  // The table is TensorRT-LLM's, but for the layers, which count from 0.
  const table = { num_slots, initial_global_assignments };
  const value = Object.fromEntries(Object.entries(table).filter(([, one]) => one !== undefined));
  const { layerNumbers, ...placement } = tensorrtLlm.read({ container: 'json', value }, name, {});
  const gap = layerNumbers!.findIndex((number, layer) => number !== layer);
  if (gap !== -1) throw new EplbRangeError('EPLB_SHAPE', `${name}: it has no layer ${gap}, but later ones`);
  const redundant = record[REDUNDANT_KEY];
  const numLogicalExperts =
    typeof redundant === 'number' && Number.isInteger(redundant)
      ? placement.numPhysicalExperts - redundant
      : placement.numLogicalExperts;
  if (numLogicalExperts < 1 || (redundant as number) < 0) {
    throw new EplbRangeError('EPLB_SHAPE', `${name}: ${REDUNDANT_KEY} is ${String(redundant)}`);
  }
  return { ...placement, format: vllmMapping.name, numLogicalExperts, notes: [] };
}

function write(placement: Placement): WrittenPlacement {
  const { slots, numPhysicalExperts, numLogicalExperts } = placement;
  if (slots.includes(-1)) {
    throw new EplbRangeError('EPLB_MAPPING', 'vllm-mapping has no empty slots; the placement has some');
  }
  const rows = rowsOf(slots, numPhysicalExperts);
  const record = {
    record_type: TYPE,
    version: 1,
    [REDUNDANT_KEY]: numPhysicalExperts - numLogicalExperts,
    num_slots: numPhysicalExperts,
    initial_global_assignments: Object.fromEntries(rows.map((row, layer) => [layer, row])),
  };
  return { bytes: new TextEncoder().encode(`${JSON.stringify(record)}\n`), notes: [] };
}

import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { isRankTable } from '../array-kind.ts';
import { int32Npy } from '../write/npy.ts';
import type { Content, NumberArray, Placement, PlacementFormat } from './placement.ts';
import { ranksFor } from './vllm-ascend.ts';
import { expertsIn, wholeTable } from './whole-table.ts';

/** vllm-ascend's table of the experts in the slots of each rank: [layers, ranks, slots]. */
export const vllmAscendNpy: PlacementFormat = {
  name: 'vllm-ascend-npy',
  holds: 'placements',
  description:
    'vllm-ascend .npy or tensor [layers, ranks, slots] of experts; name it where no expert has two slots',
  extensions: [],
  // With every expert once it could as well be a logical-to-physical table.
  recognise: (content) => content.container === 'npy' && isRankTable(content.array),
  read: (content, name) => {
    const { data, shape } = wholeTable(arrayIn(content, name), [3], name);
    const [numLayers, numRanks, slotsPerRank] = shape as [number, number, number];
    return {
      format: vllmAscendNpy.name,
      ...{ numLayers, numRanks, numPhysicalExperts: numRanks * slotsPerRank },
      numLogicalExperts: expertsIn(data),
      slots: data,
      notes: [],
    };
  },
  write: (placement, options) => {
    const { slots, numLayers, numPhysicalExperts } = placement;
    const numRanks = ranksFor(vllmAscendNpy.name, placement, options);
    return { bytes: int32Npy(slots, [numLayers, numRanks, numPhysicalExperts / numRanks]), notes: [] };
  },
};

/**
 * vLLM's expert maps of all ranks, [layers, ranks, experts]: the place of an expert among the slots of the
 * rank, -1 where it is not.
 */
export const vllmExpertMap: PlacementFormat = {
  name: 'vllm-expert-map',
  holds: 'placements',
  description:
    'vLLM expert maps [layers, ranks, experts], .pth or .npy: slot of the rank, or -1; .npy is written',
  extensions: [],
  recognise: (content) =>
    content.container === 'npy' && content.array.shape.length === 3 && isExpertMap(content.array),
  read,
  write: (placement, options) => {
    const { slots, numLayers, numPhysicalExperts, numLogicalExperts } = placement;
    const numRanks = ranksFor(vllmExpertMap.name, placement, options);
    const slotsPerRank = numPhysicalExperts / numRanks;
    const size = numLayers * numRanks * numLogicalExperts;
    if (size > MAX_SIZE) {
      throw new EplbRangeError('EPLB_SHAPE', `vllm-expert-map: ${size} numbers are more than ${MAX_SIZE}`);
    }
    const map = new Int32Array(size).fill(-1);
    for (let at = 0; at < slots.length; at++) {
      const expert = slots[at]!;
      if (expert < 0) continue;
      if (expert >= numLogicalExperts) {
        throw new EplbRangeError('EPLB_MAPPING', `vllm-expert-map: expert ${expert} of ${numLogicalExperts}`);
      }
      const rank = Math.floor(at / slotsPerRank);
      const place = rank * numLogicalExperts + expert;
      if (map[place] !== -1) {
        const where = `layer ${Math.floor(rank / numRanks)}: rank ${rank % numRanks}`;
        throw new EplbRangeError('EPLB_MAPPING', `vllm-expert-map: ${where} holds expert ${expert} twice`);
      }
      map[place] = at % slotsPerRank;
    }
    return { bytes: int32Npy(map, [numLayers, numRanks, numLogicalExperts]), notes: [] };
  },
};

/** Whether each rank's experts that are there have the slots 0, 1, 2, ..., each once, and some are not. */
function isExpertMap({ data, shape }: NumberArray): boolean {
  const width = shape[2]!;
  let hasNone = false;
  for (let first = 0; first < data.length; first += width) {
    const seen = new Set<number>();
    let most = -1;
    for (let i = first; i < first + width; i++) {
      const slot = data[i]!;
      if (slot === -1) hasNone = true;
      else if (!(slot >= 0 && slot < width && Number.isInteger(slot)) || seen.has(slot)) return false;
      else {
        seen.add(slot);
        most = Math.max(most, slot);
      }
    }
    if (seen.size !== most + 1) return false;
  }
  return hasNone && data.length > 0;
}

function read(content: Content, name: string): Placement {
  const { data, shape } = wholeTable(arrayIn(content, name), [3], name);
  const [numLayers, numRanks, numLogicalExperts] = shape as [number, number, number];
  const slotsPerRank = expertsIn(data);
  const numSlots = numLayers * numRanks * slotsPerRank;
  if (slotsPerRank > numLogicalExperts || numSlots > MAX_SIZE) {
    throw new EplbRangeError('EPLB_SHAPE', `${name}: slot ${slotsPerRank - 1} of a rank is named`);
  }
  const slots = new Int32Array(numSlots).fill(-1);
  for (let at = 0; at < data.length; at++) {
    if (data[at] === -1) continue;
    const rank = Math.floor(at / numLogicalExperts);
    const slot = rank * slotsPerRank + data[at]!;
    if (slots[slot] !== -1) {
      const where = `layer ${Math.floor(rank / numRanks)}: rank ${rank % numRanks}`;
      throw new EplbRangeError('EPLB_MAPPING', `${name}: ${where} has two experts in slot ${data[at]}`);
    }
    slots[slot] = at % numLogicalExperts;
  }
  return {
    format: vllmExpertMap.name,
    ...{ numLayers, numRanks, numLogicalExperts, numPhysicalExperts: numRanks * slotsPerRank },
    slots,
    notes: slots.includes(-1)
      ? ['ranks hold different numbers of experts: the slots they lack are empty']
      : [],
  };
}

function arrayIn(content: Content, name: string): NumberArray {
  if (content.container === 'npy') return content.array;
  throw new EplbTypeError('EPLB_KIND', `${name}: is a ${content.container} file; an array is wanted`);
}

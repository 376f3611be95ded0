import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { isPattern } from '../array-kind.ts';
import { int32Npy } from '../write/npy.ts';
import type {
  Content,
  Placement,
  PlacementFormat,
  PlacementWriteOptions,
  WrittenPlacement,
} from './placement.ts';
import { ranksFor } from './vllm-ascend.ts';
import { type WholeTable, wholeTable } from './whole-table.ts';

/**
 * omni-infer's pattern: 1 where a rank holds an expert of a layer. It has neither the order of a rank's
 * slots, which is read as ascending, nor two copies of an expert on one rank.
 */
export const omniInfer: PlacementFormat = {
  name: 'omni-infer',
  holds: 'placements',
  description: 'omni-infer placement pattern: .npy of 0 and 1, [ranks, layers, experts]',
  extensions: [],
  recognise: ({ container, ...content }) =>
    container === 'npy' && 'array' in content && isPattern(content.array, true),
  read,
  write,
};

function read(content: Content, name: string): Placement {
  if (content.container !== 'npy')
    throw new EplbTypeError(
      'EPLB_KIND',
      `${name}: is a ${content.container} file; an omni-infer pattern is a .npy file`,
    );
  const table = wholeTable(content.array, [3], name);
  const [numRanks, numLayers, numLogicalExperts] = table.shape as [number, number, number];
  const slotsPerRank = mostHeld(table, name);
  const numSlots = numRanks * numLayers * slotsPerRank;
  if (numSlots > MAX_SIZE)
    throw new EplbRangeError('EPLB_SHAPE', `${name}: ${numSlots} slots are more than ${MAX_SIZE}`);
  const slots = new Int32Array(numSlots).fill(-1);
  let empty = slots.length;
  for (let rank = 0, at = 0; rank < numRanks; rank++) {
    for (let layer = 0; layer < numLayers; layer++) {
      let slot = (layer * numRanks + rank) * slotsPerRank;
      for (let expert = 0; expert < numLogicalExperts; expert++) {
        if (table.data[at++] === 0) continue;
        slots[slot++] = expert;
        empty--;
      }
    }
  }
  const notes = ['the slots of a rank are read in the order of their experts: a pattern has no order'];
  if (empty > 0)
    notes.push(`ranks hold up to ${slotsPerRank} experts a layer: ${empty} slots of all are empty`);
  return {
    format: omniInfer.name,
    numLayers,
    numPhysicalExperts: numRanks * slotsPerRank,
    numLogicalExperts,
    slots,
    numRanks,
    notes,
  };
}

/**
 * The most experts that a rank holds in a layer.
 *
 * @throws EplbRangeError EPLB_MAPPING for anything but 0 and 1
 */
function mostHeld({ data, shape }: WholeTable, name: string): number {
  const width = shape[2]!;
  let most = 0;
  for (let first = 0; first < data.length; first += width) {
    let held = 0;
    for (let i = first; i < first + width; i++) {
      if (data[i] !== 0 && data[i] !== 1) {
        throw new EplbRangeError(
          'EPLB_MAPPING',
          `${name}: number ${i} is ${data[i]}; a pattern holds 0 and 1`,
        );
      }
      held += data[i]!;
    }
    if (held > most) most = held;
  }
  if (most === 0) throw new EplbRangeError('EPLB_MAPPING', `${name}: the pattern places no expert`);
  return most;
}

function write(placement: Placement, options: PlacementWriteOptions): WrittenPlacement {
  const { slots, numLayers, numPhysicalExperts, numLogicalExperts } = placement;
  const numRanks = ranksFor(omniInfer.name, placement, options);
  if (numLogicalExperts > numPhysicalExperts) {
    const most = `${numPhysicalExperts} slots cannot hold ${numLogicalExperts} experts`;
    throw new EplbRangeError('EPLB_MAPPING', `omni-infer: ${most}`);
  }
  const slotsPerRank = numPhysicalExperts / numRanks;
  const size = numRanks * numLayers * numLogicalExperts;
  if (size > MAX_SIZE)
    throw new EplbRangeError('EPLB_SHAPE', `omni-infer: a pattern of ${size} numbers, over ${MAX_SIZE}`);
  const pattern = new Int32Array(size);
  let twice = 0;
  for (let at = 0; at < slots.length; at++) {
    const expert = slots[at]!;
    if (expert < 0) continue;
    const layer = Math.floor(at / numPhysicalExperts);
    const rank = Math.floor((at % numPhysicalExperts) / slotsPerRank);
    const place = (rank * numLayers + layer) * numLogicalExperts + expert;
    if (pattern[place] === 1) twice++;
    pattern[place] = 1;
  }
  const notes = ['the order of the slots within a rank is dropped: the pattern has none'];
  if (twice > 0) notes.push(`${twice} slots dropped: a rank holds an expert once at most in a pattern`);
  if (slots.includes(-1)) notes.push('empty slots left out');
  return { bytes: int32Npy(pattern, [numRanks, numLayers, numLogicalExperts]), notes };
}

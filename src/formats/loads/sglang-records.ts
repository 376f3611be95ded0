import { EplbRangeError } from '../../errors.ts';
import type { LoadFormat } from '../format.ts';
import { torchDict } from '../recognise.ts';
import { decodeLoads, decodeNumbers, numberAt } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, slicedAlong } from '../tensor/stored.ts';
import { counted } from '../text.ts';
import { loadError } from './array-loads.ts';
import { denseNotes, loadedLayers, rowsWithLoad } from './loaded-layers.ts';
import { type Passes, type PassRecord, readPasses } from './sglang-passes.ts';
import { steppedRecording } from './stepped.ts';

/** The expert distribution of SGLang, recorded in the modes per_pass and per_token: one file a rank. */
export const SGLANG_RECORDS: LoadFormat = {
  name: 'sglang-records',
  holds: 'loads',
  description:
    'SGLang expert distribution (.pt), mode per_pass or per_token: a file a rank, whose counts are added',
  extensions: [],
  recognise: async (file) => (await torchDict(file))?.get('records') !== undefined,
  open: async (files, { numExperts: asked }) => {
    const passes = await readPasses(files);
    const { steps, parts } = passes;
    const { name, numLayers: allLayers } = parts[0]!;
    if (steps.length === 0) throw new EplbRangeError('EPLB_SHAPE', `${name}: it holds no forward pass`);
    const numExperts = expertsIn(passes, asked);
    const layers = await loadedLayers(allLayers, steps.length, (step, from, to) =>
      layersWithLoad(steps[step]!, from, to),
    );
    const rowOf = new Int32Array(allLayers).fill(-1);
    layers.forEach((layer, row) => {
      rowOf[layer] = row;
    });
    return steppedRecording({
      name,
      format: 'sglang-records',
      numLayers: layers.length,
      numLogicalExperts: numExperts,
      numSteps: steps.length,
      numBytes: files.reduce((sum, file) => sum + file.size, 0),
      notes: [...denseNotes(allLayers, layers), ...notesOf(passes)],
      ...(layers.length === allLayers ? {} : { layerNumbers: layers }),
      addStep: async (step, sums) => {
        for (const record of steps[step]!) await addRecord(record, rowOf, numExperts, sums);
      },
      close: async () => {
        for (const file of files) await file.source.close();
      },
    });
  },
};

function notesOf({ parts, steps, numPartial }: Passes): string[] {
  const ranks = [...new Set(parts.flatMap((part) => [...part.ranks]))].sort((a, b) => a - b);
  const hasRoutes = steps.some((records) => records.some(({ holds }) => holds === 'routes'));
  const of = hasRoutes ? "tokens' slots" : 'counts of slots';
  return [
    `${of} were folded to experts through the mapping that was live when the recording ended`,
    ranks.length === 1
      ? `these are the counts of rank ${ranks[0]} only: give the directory with the files of all ranks, if there were more`
      : `counts were added over ${counted(ranks.length, 'rank')}`,
    ...(numPartial === 0
      ? []
      : [
          `${counted(numPartial, 'forward pass')}${numPartial === 1 ? ' is' : 'es are'} missing for some ranks`,
        ]),
  ];
}

function expertsIn({ parts }: Passes, asked: number | undefined): number {
  let most = 0;
  for (const { physicalToLogical } of parts)
    for (const id of physicalToLogical) most = Math.max(most, id + 1);
  if (asked === undefined || asked === most) return Math.max(1, most);
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${parts[0]!.name}: its mapping has ${most} logical experts; --experts says ${asked}`,
  );
}

async function numbersOf({ part, tensor }: PassRecord, from: number, to: number) {
  const rows = slicedAlong(await part.torch.tensor(tensor), 0, from, to);
  const bytes = new Uint8Array(countOf(rows.shape) * BYTES_PER_NUMBER[rows.type]);
  await readTensor(rows, bytes);
  return { bytes, type: rows.type };
}

/** Which layers any of the records has a count or a route for. */
async function layersWithLoad(records: readonly PassRecord[], from: number, to: number): Promise<boolean[]> {
  const has = new Array<boolean>(to - from).fill(false);
  for (const record of records) {
    if (countOf(record.tensor.shape) === 0) continue;
    const { bytes, type } = await numbersOf(record, from, to);
    if (record.holds === 'counts') {
      rowsWithLoad(bytes, to - from).forEach((found, i) => {
        has[i] ||= found;
      });
      continue;
    }
    const ids = decodeNumbers(bytes, type);
    const perLayer = ids.length / (to - from);
    for (let i = 0; i < ids.length; i++) if (ids[i] !== -1) has[Math.floor(i / perLayer)] = true;
  }
  return has;
}

/**
 * Adds what one rank recorded of a pass.
 *
 * @param rowOf - where each layer is in `sums`; -1 for one that is left out
 */
async function addRecord(
  record: PassRecord,
  rowOf: Int32Array,
  numExperts: number,
  sums: Float64Array,
): Promise<void> {
  const { numLayers, name } = record.part;
  const { bytes, type } = await numbersOf(record, 0, numLayers);
  if (record.holds === 'routes')
    return addRoutes(record, decodeNumbers(bytes, type), rowOf, numExperts, sums);
  const { numPhysical, physicalToLogical } = record.part;
  const counts = new Float32Array(numLayers * numPhysical);
  const bad = decodeLoads(bytes, type, counts);
  if (bad >= 0) {
    throw loadError(
      name,
      numberAt(bytes, type, bad),
      `layer ${Math.floor(bad / numPhysical)}, slot ${bad % numPhysical}`,
    );
  }
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    const layer = Math.floor(i / numPhysical);
    sums[rowOf[layer]! * numExperts + expertOf(record, physicalToLogical[i]!, layer, i % numPhysical)]! +=
      counts[i]!;
  }
}

function addRoutes(
  record: PassRecord,
  ids: Float64Array,
  rowOf: Int32Array,
  numExperts: number,
  sums: Float64Array,
): void {
  const { numLayers, numPhysical, physicalToLogical, name } = record.part;
  const perLayer = ids.length / numLayers;
  for (let i = 0; i < ids.length; i++) {
    const slot = ids[i]!;
    // Padding: the layer routed fewer tokens, or to fewer experts.
    if (slot === -1) continue;
    const layer = Math.floor(i / perLayer);
    if (!(slot >= 0 && slot < numPhysical && Number.isInteger(slot))) {
      const what = `slot ${slot} at layer ${layer}; slots go from 0 to ${numPhysical - 1}`;
      throw new EplbRangeError('EPLB_RANGE', `${name}: ${what}`);
    }
    const expert = expertOf(record, physicalToLogical[layer * numPhysical + slot]!, layer, slot);
    sums[rowOf[layer]! * numExperts + expert]! += 1;
  }
}

function expertOf({ part }: PassRecord, expert: number, layer: number, slot: number): number {
  if (expert >= 0) return expert;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${part.name}: tokens went to slot ${slot} of layer ${layer}, which is empty`,
  );
}

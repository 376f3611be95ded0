import { EplbRangeError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import type { LoadFormat } from '../format.ts';
import { closeAll, sizeOf } from '../input-file.ts';
import { counted } from '../number-text.ts';
import { gapNotes } from '../numbered.ts';
import { torchDict } from '../recognise.ts';
import { decodeLoads, numberAt, viewNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER, type NumberType } from '../tensor/number-type.ts';
import { countOf } from '../tensor/shape.ts';
import { readTensor, slicedAlong } from '../tensor/stored.ts';
import { fileLoadError } from './array-loads.ts';
import { denseNotes, loadedLayers, rowsWithLoad } from './loaded-layers.ts';
import { RouteRows } from './route-rows.ts';
import { type Passes, type PassRecord, type RankFile, readPasses } from './sglang-passes.ts';
import { checkStepSize } from './step-size.ts';
import { steppedRecording, summedLoads } from './stepped.ts';

/** The expert distribution of SGLang, recorded in the modes per_pass and per_token: one file a rank. */
export const SGLANG_RECORDS: LoadFormat = {
  name: 'sglang-records',
  holds: 'loads',
  description:
    'SGLang expert distribution (.pt), mode per_pass or per_token: a file a rank, whose counts are added',
  extensions: [],
  recognise: async (file) => (await torchDict(file))?.get('records') !== undefined,
  open: async (files, { numExperts: asked, allowDuplicates = false }) => {
    const passes = await readPasses(files);
    const { steps, parts } = passes;
    const { name, numLayers: allLayers } = parts[0]!;
    if (steps.length === 0) throw new EplbRangeError('EPLB_SHAPE', `${name}: it holds no forward pass`);
    const numExperts = expertsOfMapping(passes, asked);
    const numBytes = sizeOf(files);
    checkStepSize([allLayers, numExperts], numBytes / 4, name);
    const layers = await loadedLayers(allLayers, steps.length, (step, from, to) =>
      layersWithLoad(steps[step]!, from, to),
    );
    // Used again for every record: making them anew takes much of the time.
    const free: Uint8Array[] = [];
    const counts = new Float32Array(parts[0]!.physicalToLogical.length);
    const places = new Map(parts.map((part) => [part, placesOf(part, layers, numExperts)]));
    return steppedRecording({
      format: 'sglang-records',
      numLayers: layers.length,
      numLogicalExperts: numExperts,
      numSteps: steps.length,
      numBytes,
      notes: [
        ...denseNotes(allLayers, layers),
        ...notesOf(passes),
        ...(await routeNotes(passes, allowDuplicates)),
        ...new Set(parts.flatMap(({ torch }) => torch.notes)),
      ],
      ...(layers.length === allLayers ? {} : { layerNumbers: layers }),
      readStep: (step) => Promise.all(steps[step]!.map((record) => readRecord(record, free))),
      loadsOf: summedLoads({
        name,
        shape: [layers.length, numExperts],
        addStep: (found: readonly FoundRecord[], sums) => {
          for (const record of found) {
            addRecord(record, places.get(record.part)!, counts, sums);
            free.push(record.bytes);
          }
        },
      }),
      close: () => closeAll(files),
    });
  },
};

function notesOf({ parts, steps, numPartial, passGaps }: Passes): string[] {
  const ranks = [...new Set(parts.flatMap((part) => [...part.ranks]))].sort((a, b) => a - b);
  const hasRoutes = steps.some((records) => records.some(({ holds }) => holds === 'routes'));
  const of = hasRoutes ? "tokens' slots" : 'counts of slots';
  return [
    `${of} were folded to experts through the mapping that was live when the recording ended`,
    ranks.length === 1
      ? `these are the counts of rank ${ranks[0]} only: give the directory with the files of all ranks, ` +
        'if there were more'
      : `counts were added over ${counted(ranks.length, 'rank')}`,
    ...(ranks.length === 1 ? [] : gapNotes('rank', ranks, 0)),
    ...passGaps,
    ...(numPartial === 0
      ? []
      : [
          `${counted(numPartial, 'forward pass')}${numPartial === 1 ? ' is' : 'es are'} missing for some ` +
            'ranks',
        ]),
  ];
}

/** Slots of routes that are looked at when they are opened. */
const LOOKED_AT = 2 ** 24;

/**
 * Whether the slots that each token was sent to are distinct, of the first passes.
 *
 * @throws EplbError EPLB_FORMAT for routes that cannot be true
 */
async function routeNotes({ steps, parts }: Passes, allowDuplicates: boolean): Promise<string[]> {
  const { name, numPhysical } = parts[0]!;
  const rows = new Map<number, RouteRows>();
  let seen = 0;
  for (const record of steps.flat()) {
    const { numLayers } = record.part;
    const [, numTokens = 0, topK = 0] = record.tensor.shape;
    if (record.holds === 'counts' || numTokens * topK === 0) continue;
    if (seen > LOOKED_AT) break;
    const { bytes, type } = await readLayers(record, 0, numLayers, []);
    const ids = viewNumbers(bytes, type);
    seen += ids.length;
    const ofWidth = rows.get(topK) ?? new RouteRows(numPhysical, topK);
    rows.set(topK, ofWidth);
    ofWidth.add(ids, (row) => `token ${row % numTokens}, layer ${Math.floor(row / numTokens)}`);
  }
  return [...rows.values()].flatMap((ofWidth) => ofWidth.notes(name, allowDuplicates));
}

function expertsOfMapping({ parts }: Passes, asked: number | undefined): number {
  let most = 0;
  for (const { physicalToLogical } of parts)
    for (const id of physicalToLogical) most = Math.max(most, id + 1);
  if (asked === undefined || asked === most) return Math.max(1, most);
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${parts[0]!.name}: its mapping has ${most} logical experts; --experts says ${asked}`,
  );
}

/** A record, read. */
interface FoundRecord extends PassRecord {
  readonly bytes: Uint8Array;
  readonly type: NumberType;
}

async function readRecord(record: PassRecord, free: Uint8Array[]): Promise<FoundRecord> {
  const found = await readLayers(record, 0, record.part.numLayers, free);
  // Each is a member of its own, so that a part of the steps is checked too.
  await (await record.part.torch.tensor(record.tensor)).source.verify?.();
  return found;
}

/** Reads some layers, into one of the buffers that are free if it has the right length. */
async function readLayers(
  record: PassRecord,
  from: number,
  to: number,
  free: Uint8Array[],
): Promise<FoundRecord> {
  const rows = slicedAlong(await record.part.torch.tensor(record.tensor), 0, from, to);
  const length = countOf(rows.shape) * BYTES_PER_NUMBER[rows.type];
  const last = free.pop();
  const bytes = last?.length === length ? last : zeros('the layers of a record', Uint8Array, length);
  await readTensor(rows, bytes);
  return { ...record, bytes, type: rows.type };
}

/** 1 for each layer that any of the records has a count or a route for. */
async function layersWithLoad(records: readonly PassRecord[], from: number, to: number): Promise<Uint8Array> {
  const has = new Uint8Array(to - from);
  for (const record of records) {
    if (countOf(record.tensor.shape) === 0) continue;
    const { bytes, type } = await readLayers(record, from, to, []);
    if (record.holds === 'counts') {
      rowsWithLoad(bytes, to - from).forEach((found, i) => {
        has[i]! |= found;
      });
      continue;
    }
    const ids = viewNumbers(bytes, type);
    const perLayer = ids.length / (to - from);
    for (let i = 0; i < ids.length; i++) if (ids[i] !== -1) has[Math.floor(i / perLayer)] = 1;
  }
  return has;
}

/**
 * Where in the sums [layers x logical] the count of each slot [layers x physical] belongs; -1 for one that
 * has no place.
 */
function placesOf(part: RankFile, layers: readonly number[], numExperts: number): Int32Array {
  const { numPhysical, physicalToLogical } = part;
  const places = new Int32Array(physicalToLogical.length).fill(-1);
  layers.forEach((layer, row) => {
    for (let slot = layer * numPhysical; slot < (layer + 1) * numPhysical; slot++) {
      const expert = physicalToLogical[slot]!;
      if (expert >= 0) places[slot] = row * numExperts + expert;
    }
  });
  return places;
}

/** Adds what one rank recorded of a pass. @param counts - room for the counts [layers x physical] */
function addRecord(record: FoundRecord, places: Int32Array, counts: Float32Array, sums: Float64Array): void {
  if (record.holds === 'routes') addRoutes(record, places, sums);
  else addCounts(record, places, counts, sums);
}

function addCounts(
  { part, bytes, type }: FoundRecord,
  places: Int32Array,
  counts: Float32Array,
  sums: Float64Array,
): void {
  const { numPhysical, name } = part;
  const bad = decodeLoads(bytes, type, counts);
  if (bad >= 0) {
    const at = `layer ${Math.floor(bad / numPhysical)}, slot ${bad % numPhysical}`;
    throw fileLoadError(name, numberAt(bytes, type, bad), at);
  }
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i]!;
    if (count === 0) continue;
    if (places[i]! < 0) throw emptySlotError(part, i);
    sums[places[i]!]! += count;
  }
}

function addRoutes({ part, bytes, type }: FoundRecord, places: Int32Array, sums: Float64Array): void {
  const { numLayers, numPhysical, name } = part;
  const ids = viewNumbers(bytes, type);
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
    const place = places[layer * numPhysical + slot]!;
    if (place < 0) throw emptySlotError(part, layer * numPhysical + slot);
    sums[place]! += 1;
  }
}

function emptySlotError({ name, numPhysical }: RankFile, index: number): EplbRangeError {
  const at = `slot ${index % numPhysical} of layer ${Math.floor(index / numPhysical)}`;
  return new EplbRangeError('EPLB_RANGE', `${name}: tokens went to ${at}, which is empty`);
}

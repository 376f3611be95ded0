import { basename } from 'node:path';
import { EplbError, EplbRangeError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import type { LoadFormat } from '../format.ts';
import { closeAll, type InputFile, sizeOf } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { JsonReader } from '../json/reader.ts';
import { counted } from '../number-text.ts';
import { gapNotes, numberIn } from '../numbered.ts';
import { firstCharacters, jsonOutlineOf } from '../recognise.ts';
import { mayBeSafetensors, readSafetensors } from '../safetensors/header.ts';
import { viewNumbers } from '../tensor/decode.ts';
import { BYTES_PER_NUMBER } from '../tensor/number-type.ts';
import { readTensor, type StoredTensor } from '../tensor/stored.ts';
import { quote, shapeText } from '../text.ts';
import { fileLoadError } from './array-loads.ts';
import { checkStepSize } from './step-size.ts';
import { steppedRecording, summedLoads } from './stepped.ts';

/** `<iteration>_<layer>`, the layer counted among all layers of the model. */
const KEY = /^(\d{1,15})_(\d{1,6})$/;

/** The statistics directory of TensorRT-LLM: a file a rank, and what the model is. */
export const TENSORRT_LLM: LoadFormat = {
  name: 'tensorrt-llm',
  holds: 'loads',
  description:
    'TensorRT-LLM statistics directory: meta_info.json and rank<r>.safetensors, "<iteration>_<layer>"',
  extensions: ['.safetensors'],
  recognise: async (file) => {
    if (mayBeSafetensors(await file.head(), file.contentSize)) return true;
    return (await isMetaInfo(file)) || (await isTokenCounts(file));
  },
  open: async (files, { numExperts }) => {
    const { counts, ranks } = await findCounts(files);
    const { iterations, layers, wanted } = checkedCounts(
      counts,
      files,
      await wantedExperts(files, numExperts),
    );
    const { name } = counts.values().next().value![0]!;
    const numBytes = sizeOf(files);
    const shape = [layers.length, wanted] as const;
    checkStepSize(shape, numBytes / 4, name);
    const numRanks = await numRanksOf(files, ranks);
    const missing = [...missingNotes(counts, ranks, iterations, layers), ...(await rankNotes(files, ranks))];
    return steppedRecording({
      format: 'tensorrt-llm',
      numLayers: layers.length,
      numLogicalExperts: wanted,
      numSteps: iterations.length,
      numBytes,
      notes: [
        `steps are the iterations ${iterations[0]} to ${iterations.at(-1)}; layers keep the model's ` +
          `numbers, ${layers[0]} to ${layers.at(-1)}`,
        ...missing,
        ...(numRanks === undefined ? [] : [`the counts of a rank's file are those of tokens on it`]),
        ...(missing.length > 0 ? ['what is missing was read as no load there'] : []),
      ],
      layerNumbers: layers,
      readStep: (step) =>
        Promise.all(layers.map((layer) => readCounts(counts.get(`${iterations[step]}_${layer}`) ?? []))),
      loadsOf: summedLoads({
        name,
        shape,
        addStep: (found: readonly (readonly FoundCount[])[], sums) => {
          for (const [i, ofLayer] of found.entries()) {
            for (const count of ofLayer) addCount(count, sums.subarray(i * wanted, (i + 1) * wanted));
          }
        },
      }),
      ...(numRanks === undefined ? {} : { sources: sourcesOf(numRanks, wanted, layers.length) }),
      close: () => closeAll(files),
    });
  },
};

/** The counts of one iteration and layer by one rank. */
interface Count {
  readonly tensor: StoredTensor;
  readonly name: string;
  readonly key: string;
  /** By the name of its file. */
  readonly rank: number | undefined;
}

async function isMetaInfo(file: InputFile): Promise<boolean> {
  const fields = (await jsonOutlineOf(file))?.fields;
  return fields?.has('num_experts') === true && fields.has('num_experts_per_token');
}

/** rank<r>_numtokens.json, which newer versions write beside it: tokens by the same keys. */
async function isTokenCounts(file: InputFile): Promise<boolean> {
  return /^\{\s*"\d+_\d+"\s*:\s*\d/.test(await firstCharacters(file));
}

async function wantedExperts(
  files: readonly InputFile[],
  asked: number | undefined,
): Promise<number | undefined> {
  const told = await wholeInMeta(files, 'num_experts');
  if (told === undefined || asked === undefined || asked === told) return told ?? asked;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${files[0]!.name}: num_experts is ${told}; --experts says ${asked}`,
  );
}

/** A whole number that meta_info.json has under a key, or undefined. @throws EplbRangeError EPLB_RANGE */
async function wholeInMeta(files: readonly InputFile[], key: string): Promise<number | undefined> {
  for (const file of files) {
    if (!(await isMetaInfo(file))) continue;
    const span = (await file.jsonOutline()).fields.get(key);
    if (span === undefined) continue;
    const reader = new JsonReader(await file.jsonBytes(), file.name, span.start);
    const shown = describeNext(reader);
    const told = reader.kind() === 'number' ? reader.number() : 0;
    if (Number.isInteger(told) && told >= 1) return told;
    const wanted = 'it must be a whole number of at least 1';
    throw new EplbRangeError('EPLB_RANGE', `${file.name}: ${key} is ${shown}; ${wanted}`);
  }
  return undefined;
}

/** All counts by `<iteration>_<layer>`, of all ranks, and how many each rank's file has. */
async function findCounts(
  files: readonly InputFile[],
): Promise<{ counts: Map<string, Count[]>; ranks: ReadonlyMap<InputFile, number> }> {
  const counts = new Map<string, Count[]>();
  const ranks = new Map<InputFile, number>();
  for (const file of files) {
    if (!mayBeSafetensors(await file.head(), file.contentSize) && file.extension !== '.safetensors') continue;
    const tensors = await readSafetensors(file.source, file.name);
    ranks.set(file, tensors.size);
    for (const [key, tensor] of tensors) {
      const match = KEY.exec(key);
      if (match === null) {
        throw new EplbError('EPLB_FORMAT', `${file.name}: ${quote(key)} is not "<iteration>_<layer>"`);
      }
      const place = `${Number(match[1])}_${Number(match[2])}`;
      const found = counts.get(place);
      const count = { tensor, name: file.name, key, rank: rankIn(file.path) };
      if (found === undefined) counts.set(place, [count]);
      else found.push(count);
    }
    // There may be a file for each of hundreds of ranks.
    await file.close();
  }
  return { counts, ranks };
}

/** Which iterations and layers have a gap, and what single ranks lack. */
function missingNotes(
  counts: ReadonlyMap<string, readonly Count[]>,
  ranks: ReadonlyMap<InputFile, number>,
  iterations: readonly number[],
  layers: readonly number[],
): string[] {
  const notes = [...gapNotes('iteration', iterations), ...gapNotes('layer', layers)];
  const all = iterations.length * layers.length;
  for (const iteration of iterations) {
    const layer = layers.find((one) => !counts.has(`${iteration}_${one}`));
    if (layer === undefined) continue;
    notes.push(
      `${counted(all - counts.size, 'count')} of no rank: first iteration ${iteration}, layer ${layer}`,
    );
    break;
  }
  const lacking = [...ranks].filter(([, size]) => size < counts.size);
  if (lacking.length > 0) {
    const [file, size] = lacking[0]!;
    const place = [...counts].find(([, found]) => !found.some(({ name }) => name === file.name))?.[0];
    const [iteration, layer] = place?.split('_') ?? [];
    const what = `${counted(counts.size - size, 'count')} that other ranks have`;
    const others = lacking.length > 1 ? `; so do ${counted(lacking.length - 1, 'other rank')}` : '';
    notes.push(
      `${quote(basename(file.path))} lacks ${what}: first iteration ${iteration}, layer ${layer}${others}`,
    );
  }
  return notes;
}

/** Which ranks have no file: by the numbers in the names, and by how many meta_info.json says there are. */
async function rankNotes(
  files: readonly InputFile[],
  ranks: ReadonlyMap<InputFile, number>,
): Promise<string[]> {
  const numbers = Array.from(ranks.keys(), ({ path }) => rankIn(path));
  const known = numbers.filter((number) => number !== undefined);
  if (files.length === 1 || known.length === 0) return [];
  const told = await wholeInMeta(files, 'ep_size');
  const beyond = told !== undefined && told > Math.max(...known) + 1 ? told : undefined;
  const notes = gapNotes('rank', known, 0);
  if (beyond !== undefined) {
    notes.push(`meta_info.json says ${beyond} ranks, of which ${counted(known.length, 'file')} are there`);
  }
  return notes;
}

/** How many ranks there were, where there is a file of each; undefined where some lack. */
async function numRanksOf(
  files: readonly InputFile[],
  ranks: ReadonlyMap<InputFile, number>,
): Promise<number | undefined> {
  const numbers = new Set(Array.from(ranks.keys(), ({ path }) => rankIn(path)));
  const all = Array.from({ length: ranks.size }, (_, rank) => rank);
  if (ranks.size < 2 || !all.every((rank) => numbers.has(rank))) return undefined;
  const told = await wholeInMeta(files, 'ep_size');
  return told === undefined || told === ranks.size ? ranks.size : undefined;
}

function rankIn(path: string): number | undefined {
  return numberIn(basename(path).replace(/\.\w+$/, ''));
}

function sourcesOf(numRanks: number, numExperts: number, numLayers: number) {
  return {
    numRanks,
    loadsOf: (found: readonly (readonly FoundCount[])[], sourceLoads: Float32Array) => {
      for (let layer = 0; layer < numLayers; layer++) {
        for (const { rank, numbers } of found[layer]!) {
          const first = (layer * numRanks + rank!) * numExperts;
          for (let expert = 0; expert < numExperts; expert++)
            sourceLoads[first + expert]! += numbers[expert]!;
        }
      }
    },
  };
}

function checkedCounts(
  counts: ReadonlyMap<string, readonly Count[]>,
  files: readonly InputFile[],
  told: number | undefined,
): { iterations: number[]; layers: number[]; wanted: number } {
  if (counts.size === 0) {
    const shown = files.map((file) => quote(basename(file.path))).join(', ');
    throw new EplbError(
      'EPLB_FORMAT',
      `${files[0]!.name}: no counts of any iteration in ${shown.slice(0, 200)}`,
    );
  }
  const [ofIterations, ofLayers] = [new Set<number>(), new Set<number>()];
  for (const place of counts.keys()) {
    const between = place.indexOf('_');
    ofIterations.add(Number(place.slice(0, between)));
    ofLayers.add(Number(place.slice(between + 1)));
  }
  const [iterations, layers] = [ofIterations, ofLayers].map((all) => [...all].sort((a, b) => a - b)) as [
    number[],
    number[],
  ];
  const wanted = told ?? counts.values().next().value![0]!.tensor.shape[0] ?? 0;
  for (const found of counts.values()) {
    for (const { tensor, name, key } of found) {
      if (tensor.shape.length === 1 && tensor.shape[0] === wanted && wanted > 0) continue;
      throw new EplbRangeError(
        'EPLB_SHAPE',
        `${name}: ${quote(key)} has the shape ${shapeText(tensor.shape)}; counts of ${wanted} experts are ` +
          'wanted',
      );
    }
  }
  // Each count names one place: twice as many places as counts could only be holes.
  if (iterations.length * layers.length > 64 * counts.size + 4096) {
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${files[0]!.name}: hardly any iteration has counts of all ${layers.length} layers`,
    );
  }
  return { iterations, layers, wanted };
}

/** A count, read. */
interface FoundCount extends Count {
  readonly numbers: ArrayLike<number>;
}

function readCounts(counts: readonly Count[]): Promise<FoundCount[]> {
  return Promise.all(
    counts.map(async (count) => {
      const { type, shape } = count.tensor;
      const bytes = zeros(count.name, Uint8Array, shape[0]! * BYTES_PER_NUMBER[type]);
      await readTensor(count.tensor, bytes);
      return { ...count, numbers: viewNumbers(bytes, type) };
    }),
  );
}

function addCount({ name, key, numbers }: FoundCount, sums: Float64Array): void {
  for (let expert = 0; expert < numbers.length; expert++) {
    const count = numbers[expert]!;
    if (!(count >= 0)) throw fileLoadError(name, count, `${quote(key)}, expert ${expert}`);
    sums[expert]! += count;
  }
}

import { basename } from 'node:path';
import { EplbError, EplbRangeError } from '../../core/errors.ts';
import { zeros } from '../../memory/allocate.ts';
import type { LoadFormat } from '../format.ts';
import { closeAll, type InputFile, sizeOf } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { JsonReader } from '../json/reader.ts';
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
    if (mayBeSafetensors(await file.head(), file.size)) return true;
    return (await isMetaInfo(file)) || (await isTokenCounts(file));
  },
  open: async (files, { numExperts }) => {
    const counts = await findCounts(files);
    const { iterations, layers, wanted } = checkedCounts(
      counts,
      files,
      await wantedExperts(files, numExperts),
    );
    const { name } = counts.values().next().value![0]!;
    const numBytes = sizeOf(files);
    const shape = [layers.length, wanted] as const;
    checkStepSize(shape, numBytes / 4, name);
    const missing = counts.size < iterations.length * layers.length;
    return steppedRecording({
      format: 'tensorrt-llm',
      numLayers: layers.length,
      numLogicalExperts: wanted,
      numSteps: iterations.length,
      numBytes,
      notes: [
        `steps are the iterations ${iterations[0]} to ${iterations.at(-1)}; layers keep the model's ` +
          `numbers, ${layers[0]} to ${layers.at(-1)}`,
        ...(missing ? ['iterations without counts of a layer were read as no load there'] : []),
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
      close: () => closeAll(files),
    });
  },
};

/** The counts of one iteration and layer by one rank. */
interface Count {
  readonly tensor: StoredTensor;
  readonly name: string;
  readonly key: string;
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
  for (const file of files) {
    if (!(await isMetaInfo(file))) continue;
    const { start } = (await file.jsonOutline()).fields.get('num_experts')!;
    const reader = new JsonReader(await file.jsonBytes(), file.name, start);
    const shown = describeNext(reader);
    const told = reader.kind() === 'number' ? reader.number() : 0;
    if (!Number.isInteger(told) || told < 1) {
      const wanted = 'it must be a whole number of at least 1';
      throw new EplbRangeError('EPLB_RANGE', `${file.name}: num_experts is ${shown}; ${wanted}`);
    }
    if (asked === undefined || asked === told) return told;
    throw new EplbRangeError('EPLB_SHAPE', `${file.name}: num_experts is ${told}; --experts says ${asked}`);
  }
  return asked;
}

/** All counts by `<iteration>_<layer>`, of all ranks. */
async function findCounts(files: readonly InputFile[]): Promise<Map<string, Count[]>> {
  const counts = new Map<string, Count[]>();
  for (const file of files) {
    if (!mayBeSafetensors(await file.head(), file.size) && file.extension !== '.safetensors') continue;
    for (const [key, tensor] of await readSafetensors(file.source, file.name)) {
      const match = KEY.exec(key);
      if (match === null) {
        throw new EplbError('EPLB_FORMAT', `${file.name}: ${quote(key)} is no "<iteration>_<layer>"`);
      }
      const place = `${Number(match[1])}_${Number(match[2])}`;
      const found = counts.get(place);
      if (found === undefined) counts.set(place, [{ tensor, name: file.name, key }]);
      else found.push({ tensor, name: file.name, key });
    }
    // There may be a file for each of hundreds of ranks.
    await file.close();
  }
  return counts;
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

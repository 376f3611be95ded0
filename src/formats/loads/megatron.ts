import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { linesOf } from '../bytes/lines.ts';
import type { LoadFormat } from '../format.ts';
import { closeAll, type InputFile, sizeOf } from '../input-file.ts';
import { describeNext } from '../json/describe.ts';
import { readNestedNumbers } from '../json/nested-numbers.ts';
import { mostNumbersIn } from '../json/outline.ts';
import { JsonReader } from '../json/reader.ts';
import { counted } from '../number-text.ts';
import { gapNotes } from '../numbered.ts';
import { firstLine } from '../recognise.ts';
import { RouteRows } from './route-rows.ts';
import { checkStepSize } from './step-size.ts';
import { steppedRecording, summedLoads } from './stepped.ts';

/** Most experts that a choice may name. */
const MOST_EXPERTS = 1 << 16;

/** Megatron's routing trace: a line a step, layer and rank, of the experts that its tokens were sent to. */
export const MEGATRON: LoadFormat = {
  name: 'megatron-trace',
  holds: 'loads',
  description:
    'Megatron routing trace, JSON Lines: {"step", "layer", "rank", "top_indices": [tokens][topK]} a line, a ' +
    'file a rank',
  extensions: [],
  recognise: async (file) => {
    const line = await firstLine(file);
    return /^\s*\{/.test(line) && ['step', 'layer', 'top_indices'].every((key) => line.includes(`"${key}"`));
  },
  open: async (files, { numExperts: asked, allowDuplicates = false }) => {
    const trace = await lookThrough(files);
    const { places, name } = trace;
    const steps = [...new Set(places.map(({ step }) => step))].sort((a, b) => a - b);
    const layers = [...new Set(places.map(({ layer }) => layer))].sort((a, b) => a - b);
    const numExperts = asked ?? trace.numExperts;
    if (trace.numExperts > numExperts) {
      const what = `it names expert ${trace.numExperts - 1}; --experts says ${asked}`;
      throw new EplbRangeError('EPLB_RANGE', `${name}: ${what}`);
    }
    const numBytes = sizeOf(files);
    const shape = [layers.length, numExperts] as const;
    checkStepSize(shape, numBytes / 4, name);
    const rowOf = new Map(layers.map((layer, row) => [layer, row]));
    const ofStep = new Map(steps.map((step) => [step, [] as Place[]]));
    for (const place of places) ofStep.get(place.step)!.push(place);
    const isFromZero = layers.every((layer, row) => layer === row);
    return steppedRecording({
      format: 'megatron-trace',
      numLayers: layers.length,
      numLogicalExperts: numExperts,
      numSteps: steps.length,
      numBytes,
      notes: [
        ...(asked === undefined
          ? [`the greatest expert in it is ${numExperts - 1}: give --experts if there are more`]
          : []),
        `choices were added over ${counted(trace.ranks.size, 'rank')}`,
        ...gapNotes('rank', trace.ranks, files.length > 1 ? 0 : undefined),
        ...gapNotes('step', steps),
        ...gapNotes('layer', layers),
        ...[...trace.rows.values()].flatMap((rows) => [
          ...rows.notes(name, allowDuplicates),
          ...rows.noneNotes(),
        ]),
      ],
      ...(isFromZero ? {} : { layerNumbers: layers }),
      readStep: (step) => Promise.all(ofStep.get(steps[step]!)!.map(readPlace)),
      loadsOf: summedLoads({
        name,
        shape,
        addStep: (found: readonly { layer: number; ids: Float64Array }[], sums) => {
          for (const { layer, ids } of found) {
            const first = rowOf.get(layer)! * numExperts;
            for (const id of ids) if (id >= 0) sums[first + id]! += 1;
          }
        },
      }),
      close: () => closeAll(files),
    });
  },
};

/** Where a line lies. */
interface Place {
  readonly file: InputFile;
  readonly number: number;
  readonly start: number;
  readonly length: number;
  readonly step: number;
  readonly layer: number;
}

interface Trace {
  readonly name: string;
  readonly places: readonly Place[];
  readonly ranks: ReadonlySet<number>;
  readonly numExperts: number;
  /** By how many experts a token has. */
  readonly rows: ReadonlyMap<number, RouteRows>;
}

/** Reads all lines, to learn what there is: which steps, layers and experts. */
async function lookThrough(files: readonly InputFile[]): Promise<Trace> {
  const places: Place[] = [];
  const ranks = new Set<number>();
  const rows = new Map<number, RouteRows>();
  let numExperts = 0;
  for (const file of files) {
    for await (const lines of linesOf(file.source, file.name)) {
      for (const line of lines) {
        const { step, layer, rank, ids, topK } = readLine(line.bytes, `${file.name}: line ${line.number}`);
        ranks.add(rank);
        for (const id of ids) if (id >= numExperts) numExperts = id + 1;
        const ofWidth = rows.get(topK) ?? new RouteRows(MOST_EXPERTS, topK);
        rows.set(topK, ofWidth);
        if (topK > 0)
          ofWidth.add(ids, (token) => `${file.name}: step ${step}, token ${token}, layer ${layer}`);
        places.push({ file, number: line.number, start: line.start, length: line.bytes.length, step, layer });
      }
    }
    await file.close();
  }
  const { name } = files[0]!;
  if (places.length === 0 || numExperts === 0) {
    throw new EplbError('EPLB_FORMAT', `${name}: it holds no choice of any expert`);
  }
  return { name, places, ranks, numExperts, rows };
}

async function readPlace({ file, number, start, length, layer }: Place) {
  const bytes = new Uint8Array(length);
  await file.source.read(bytes, start);
  return { layer, ids: readLine(bytes, `${file.name}: line ${number}`).ids };
}

function readLine(bytes: Uint8Array, place: string) {
  const reader = new JsonReader(bytes, place);
  const found: { step?: number; layer?: number; rank?: number } = {};
  const sink = { data: new Float64Array(mostNumbersIn(bytes, { start: 0, end: bytes.length })), length: 0 };
  let shape: number[] | undefined;
  if (reader.kind() === 'object') {
    reader.openObject();
    for (let isFirst = true; reader.hasEntry(isFirst, 'object'); isFirst = false) {
      const key = reader.key();
      if (key === 'top_indices' && reader.kind() === 'array') {
        sink.length = 0;
        shape = isEmptyNext(reader)
          ? emptyOf(reader)
          : readNestedNumbers(reader, { path: key, name: place }, sink);
      } else if ((key === 'step' || key === 'layer' || key === 'rank') && reader.kind() === 'number') {
        found[key] = reader.number();
      } else reader.skip();
    }
  } else reader.skip();
  reader.end();
  const { step, layer, rank = 0 } = found;
  if (shape === undefined || shape.length !== 2 || !isIndex(step) || !isIndex(layer) || !isIndex(rank)) {
    const wanted = 'a line has a whole step and layer, and top_indices [tokens][topK]';
    throw new EplbTypeError('EPLB_KIND', `${place}: ${wanted}`);
  }
  const ids = sink.data.subarray(0, sink.length);
  const bad = ids.findIndex((id) => !(id >= -1 && id < MOST_EXPERTS - 1 && Number.isInteger(id)));
  if (bad !== -1) throw new EplbRangeError('EPLB_RANGE', `${place}: expert ${ids[bad]} in top_indices`);
  return { step, layer, rank, ids, topK: shape[1]! };
}

function isIndex(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

/** Whether the array that is next is empty, as of a rank without tokens. */
function isEmptyNext(reader: JsonReader): boolean {
  return describeNext(reader) === 'an empty array';
}

function emptyOf(reader: JsonReader): number[] {
  reader.skip();
  return [0, 0];
}

import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { InputFile } from '../input-file.ts';
import { gapNotes } from '../numbered.ts';
import { shapeText } from '../text.ts';
import type { TorchFile } from '../torch/file.ts';
import { describePickle, PickleDict, PickleList, type PickleValue } from '../torch/pickle-values.ts';
import { TensorRef } from '../torch/tensor-ref.ts';
import { checkStepSize } from './step-size.ts';

/** What one rank recorded of one forward pass. */
export interface PassRecord {
  readonly part: RankFile;
  /**
   * Tokens of each physical expert [layers x physical], or which ones each token was sent to [layers x tokens
   * x topK].
   */
  readonly tensor: TensorRef;
  readonly holds: 'counts' | 'routes';
}

/** A file of one rank. */
export interface RankFile {
  readonly name: string;
  readonly torch: TorchFile;
  readonly numLayers: number;
  readonly numPhysical: number;
  /** [layers x physical]: the logical expert of each slot, -1 for none. */
  readonly physicalToLogical: Float64Array;
  readonly ranks: ReadonlySet<number>;
  /** The records by their forward pass, of the file alone. */
  readonly passes: ReadonlyMap<number, readonly PassRecord[]>;
}

/** The forward passes of all files, in order, each with the records of all ranks. */
export interface Passes {
  readonly steps: readonly (readonly PassRecord[])[];
  readonly parts: readonly RankFile[];
  /** Passes that not every rank of their dump has. */
  readonly numPartial: number;
  /** Which passes of a dump are missing among the others, in words. */
  readonly passGaps: readonly string[];
}

/**
 * Reads what files of SGLang's modes per_pass and per_token hold. The files of one dump, one a rank, are
 * joined by the numbers of their passes. A file of a rank that the dump has already begins the next one.
 *
 * @param files - ordered by time
 * @throws EplbError and its subclasses
 */
export async function readPasses(files: readonly InputFile[]): Promise<Passes> {
  const dumps: RankFile[][] = [];
  for (const file of files) {
    const part = await readRankFile(file);
    await file.close();
    const dump = dumps.at(-1);
    const isNext =
      dump === undefined || dump.some(({ ranks }) => [...part.ranks].some((rank) => ranks.has(rank)));
    if (isNext) dumps.push([part]);
    else dump.push(part);
  }
  const parts = dumps.flat();
  checkSizes(parts);
  const steps: (readonly PassRecord[])[] = [];
  let numPartial = 0;
  const passGaps = new Set<string>();
  for (const dump of dumps) {
    const ids = [...new Set(dump.flatMap(({ passes }) => [...passes.keys()]))].sort((a, b) => a - b);
    for (const gap of gapNotes('forward pass', ids)) passGaps.add(gap);
    for (const id of ids) {
      const having = dump.filter(({ passes }) => passes.has(id));
      if (having.length < dump.length) numPartial++;
      steps.push(having.flatMap(({ passes }) => passes.get(id)!));
    }
  }
  return { steps, parts, numPartial, passGaps: [...passGaps] };
}

async function readRankFile(file: InputFile): Promise<RankFile> {
  const torch = await file.torch();
  const { root } = torch;
  const records = root instanceof PickleDict ? root.get('records') : undefined;
  const map = root instanceof PickleDict ? root.get('last_physical_to_logical_map') : undefined;
  if (!(records instanceof PickleList)) throw kindError(file, 'records', records, 'a list');
  if (!(map instanceof TensorRef)) throw kindError(file, 'last_physical_to_logical_map', map, 'a tensor');
  const [numLayers = 0, numPhysical = 0] = map.shape;
  if (map.shape.length !== 2 || numLayers === 0 || numPhysical === 0) {
    const what = `has the shape ${shapeText(map.shape)}; [layers, physical] is wanted`;
    throw new EplbRangeError('EPLB_SHAPE', `${file.name}: last_physical_to_logical_map ${what}`);
  }
  checkStepSize(map.shape, file.size / 4, `${file.name}: last_physical_to_logical_map`);
  const physicalToLogical = await torch.numbers(map);
  checkMap(physicalToLogical, numPhysical, file.name);
  const passes = new Map<number, PassRecord[]>();
  const part = {
    name: file.name,
    torch,
    numLayers,
    numPhysical,
    physicalToLogical,
    ranks: new Set<number>(),
    passes,
  };
  const seen = new Set<string>();
  for (const [i, record] of records.items.entries()) addRecord(part, passes, record, i, seen, file);
  return part;
}

function addRecord(
  part: RankFile & { readonly ranks: Set<number> },
  passes: Map<number, PassRecord[]>,
  record: PickleValue,
  index: number,
  seen: Set<string>,
  file: InputFile,
): void {
  const place = `records[${index}]`;
  if (!(record instanceof PickleDict)) throw kindError(file, place, record, 'a dict');
  const pass = wholeIn(record, 'forward_pass_id', place, file);
  const rank = wholeIn(record, 'rank', place, file);
  const key = `${pass} ${rank} ${describePickle(record.get('gatherer_key'))}`;
  if (seen.has(key)) {
    throw new EplbError(
      'EPLB_FORMAT',
      `${file.name}: ${place}: pass ${pass} of rank ${rank} is recorded twice`,
    );
  }
  seen.add(key);
  part.ranks.add(rank);
  const found = recordOf(part, record, place, file);
  const others = passes.get(pass);
  if (others === undefined) passes.set(pass, [found]);
  else others.push(found);
}

function recordOf(part: RankFile, record: PickleDict, place: string, file: InputFile): PassRecord {
  const { numLayers, numPhysical } = part;
  const counts = record.get('global_physical_count');
  const routes = record.get('topk_ids_of_layer');
  const tensor = counts instanceof TensorRef ? counts : routes;
  if (!(tensor instanceof TensorRef)) {
    throw kindError(file, place, record, 'a dict with a tensor global_physical_count or topk_ids_of_layer');
  }
  const holds = tensor === counts ? 'counts' : 'routes';
  const { shape } = tensor;
  checkStepSize(shape, file.size, `${file.name}: ${place}`);
  const fits =
    holds === 'counts'
      ? shape.length === 2 && shape[1] === numPhysical
      : shape.length === 3 && shape[2]! <= numPhysical;
  if (fits && shape[0] === numLayers) return { part, tensor, holds };
  const wanted = holds === 'counts' ? `(${numLayers}, ${numPhysical})` : `(${numLayers}, tokens, topK)`;
  throw new EplbRangeError(
    'EPLB_SHAPE',
    `${file.name}: ${place} has the shape ${shapeText(shape)}; ${wanted} fits its ` +
      'last_physical_to_logical_map',
  );
}

function checkMap(map: Float64Array, numPhysical: number, name: string): void {
  // Every logical expert has a slot, so there are no more of them than slots.
  const bad = map.findIndex((id) => !(id >= -1 && id < numPhysical && Number.isInteger(id)));
  if (bad === -1) return;
  const at = `layer ${Math.floor(bad / numPhysical)}, slot ${bad % numPhysical}`;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${name}: last_physical_to_logical_map has ${map[bad]} at ${at}; ids go from 0 to before the ` +
      `${numPhysical} slots`,
  );
}

function checkSizes(parts: readonly RankFile[]): void {
  const first = parts[0]!;
  for (const { name, numLayers, numPhysical } of parts) {
    if (numLayers === first.numLayers && numPhysical === first.numPhysical) continue;
    throw new EplbRangeError(
      'EPLB_SHAPE',
      `${name} has ${numLayers} layers of ${numPhysical} slots; ${first.name} has ${first.numLayers} of ` +
        `${first.numPhysical}`,
    );
  }
}

function wholeIn(record: PickleDict, key: string, place: string, file: InputFile): number {
  const value = record.get(key);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw kindError(file, `${place}.${key}`, value, 'a whole number');
}

function kindError(
  file: InputFile,
  place: string,
  found: PickleValue | undefined,
  wanted: string,
): EplbTypeError {
  return new EplbTypeError(
    'EPLB_KIND',
    `${file.name}: ${place} is ${describePickle(found)}; it must be ${wanted}`,
  );
}

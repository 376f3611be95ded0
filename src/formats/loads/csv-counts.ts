import { EplbError, EplbRangeError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import type { InputFile } from '../input-file.ts';
import { grouped } from '../number-text.ts';
import { gapNotes } from '../numbered.ts';
import type { OpenOptions } from '../open-options.ts';
import { firstLine } from '../recognise.ts';
import type { StoredRecording } from '../recording.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { arraySourceLoads } from './array-sources.ts';
import { csvCells } from './csv-table.ts';
import { inMemory, numbersFor } from './json.ts';
import { LoadText, MOST_TEXT_BYTES, trimmedText } from './load-text.ts';
import { oneByOne } from './one-by-one.ts';

/** What the columns may be called. */
const COLUMNS = {
  step: ['step', 'iteration', 'iter', 'step_id'],
  layer: ['layer_id', 'layer', 'layer_idx', 'layer_index', 'moe_layer'],
  // A rank alone may be the one that has the expert.
  sourceRank: ['source_rank', 'src_rank', 'source_rank_id'],
  expert: ['expert_id', 'expert', 'expert_idx', 'expert_index', 'logical_expert_id'],
  count: ['count', 'counts', 'load', 'tokens', 'num_tokens', 'token_count'],
} as const;

type Column = keyof typeof COLUMNS;

const NOUNS: Readonly<Record<Column, string>> = {
  ...{ step: 'step', layer: 'layer', expert: 'expert', count: 'count' },
  sourceRank: 'source rank',
};

/** Loads that may be in memory whatever the size of the file. */
const FREE_LOADS = 2 ** 22;

/** CSV of a line a count. */
export const CSV_COUNTS: LoadFormat = {
  name: 'csv-counts',
  holds: 'loads',
  description:
    'CSV of a line a count: layer_id,expert_id,count, or step,layer_id,expert_id,count; source_rank: of tokens',
  extensions: [],
  recognise: async (file) => columnsOf(await firstLine(file)) !== undefined,
  open: oneByOne(openCounts),
};

/** Where the columns stand, or undefined when the line names others. */
function columnsOf(line: string): Partial<Record<Column, number>> | undefined {
  if (line.length > 1000 || !line.includes(',')) return undefined;
  const names = csvCells(line.replace(/^\ufeff/, '')).map((cell) => cell.toLowerCase());
  const found: Partial<Record<Column, number>> = {};
  for (const [column, known] of Object.entries(COLUMNS) as [Column, readonly string[]][]) {
    const at = names.findIndex((name) => known.includes(name));
    if (at !== -1) found[column] = at;
  }
  return found.layer === undefined || found.expert === undefined || found.count === undefined
    ? undefined
    : found;
}

async function openCounts(file: InputFile, { numExperts: asked }: OpenOptions): Promise<StoredRecording> {
  const text = trimmedText(await file.whole(MOST_TEXT_BYTES, 'a table of numbers'));
  const end = text.indexOf(0x0a);
  const columns = columnsOf(text.toString('utf8', 0, end === -1 ? text.length : end));
  if (columns === undefined || end === -1) {
    const what = 'its first line must be layer_id,expert_id,count, and others follow';
    throw new EplbError('EPLB_FORMAT', `${file.name}: ${what}`);
  }
  const cut = { numLinesBefore: 1, skipsFirst: false };
  const table = LoadText.of(text.subarray(end + 1), ',', file.name, cut);
  const { numRows, numColumns } = table;
  const cells = numbersFor(numRows * numColumns, file.name);
  table.fill(cells, 0, numColumns);
  const numbersIn = (column: Column) =>
    wholes(cells, numRows, numColumns, columns[column], column, file.name);
  const [steps, layers, experts] = [numbersIn('step'), numbersIn('layer'), numbersIn('expert')];
  const ranks = numbersIn('sourceRank');
  const most = experts.numbers.at(-1)! + 1;
  const numRanks = ranks.numbers.at(-1)! + 1;
  if (asked !== undefined && most > asked) {
    throw new EplbRangeError('EPLB_SHAPE', `${file.name}: expert ${most - 1}; --experts says ${asked}`);
  }
  const shape = [steps.numbers.length, layers.numbers.length, asked ?? most] as const;
  checkLoadsShape(shape, file.name, asked, file.size);
  const size = shape[0] * shape[1] * numRanks * shape[2];
  if (size > FREE_LOADS + file.size / 4) {
    const what = `${grouped(numRows)} counts of ${grouped(size)} loads: too few of them`;
    throw new EplbRangeError('EPLB_SHAPE', `${file.name}: ${what}`);
  }
  const data = numbersFor(size, file.name);
  const isThere = new Uint8Array(size);
  let twice = 0;
  for (let row = 0; row < numRows; row++) {
    const place = steps.indexOf(row) * shape[1] + layers.indexOf(row);
    const rank = ranks.numbers[ranks.indexOf(row)]!;
    const at = (place * numRanks + rank) * shape[2] + cells[row * numColumns + columns.expert!]!;
    if (isThere[at] === 1) twice++;
    isThere[at] = 1;
    data[at]! += cells[row * numColumns + columns.count!]!;
  }
  const missing = size - numRows + twice;
  const notes = [
    ...gapNotes('step', steps.numbers),
    ...gapNotes('layer', layers.numbers),
    ...(missing === 0
      ? []
      : [`${grouped(missing)} of ${grouped(size)} loads have no line and were read as 0`]),
    ...(twice === 0 ? [] : [`${grouped(twice)} lines name a load once more, and were added to it`]),
  ];
  const about = { name: file.name, format: CSV_COUNTS.name, namedLoads: true, notes, numBytes: file.size };
  const recording =
    columns.sourceRank === undefined
      ? arrayLoads({ tensor: inMemory(data, shape), ...about })
      : arraySourceLoads({
          tensor: inMemory(data, [shape[0], shape[1], numRanks, shape[2]]),
          ...{ ...about, notes: [...gapNotes('source rank', ranks.numbers, 0), ...notes] },
        });
  const isFromZero = layers.numbers.every((layer, row) => layer === row);
  return isFromZero ? recording : { ...recording, layerNumbers: Array.from(layers.numbers) };
}

/** The whole numbers of a column, ascending, and which of them each row has; one 0 where there is none. */
function wholes(
  cells: Float64Array,
  numRows: number,
  numColumns: number,
  column: number | undefined,
  noun: Column,
  name: string,
): { numbers: Float64Array; indexOf: (row: number) => number } {
  if (column === undefined) return { numbers: Float64Array.of(0), indexOf: () => 0 };
  const distinct = new Set<number>();
  for (let row = 0; row < numRows; row++) {
    const number = cells[row * numColumns + column]!;
    if (!Number.isInteger(number) || number > 2 ** 24) {
      throw new EplbRangeError(
        'EPLB_RANGE',
        `${name}: line ${row + 2}: ${NOUNS[noun]} ${number} is not a whole number`,
      );
    }
    distinct.add(number);
  }
  const numbers = Float64Array.from(distinct).sort();
  const indices = new Map(Array.from(numbers, (number, i) => [number, i] as const));
  return { numbers, indexOf: (row) => indices.get(cells[row * numColumns + column]!)! };
}

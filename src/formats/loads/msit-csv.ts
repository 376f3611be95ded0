import { basename } from 'node:path';
import { EplbError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { type InputFile, sizeOf } from '../input-file.ts';
import { counted } from '../number-text.ts';
import { gapNotes, numberIn, widthNotes } from '../numbered.ts';
import { firstLines } from '../recognise.ts';
import { quote } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { isNumberLine, readCsv } from './csv-table.ts';
import { inMemory, loadsFor } from './json.ts';
import type { LoadText } from './load-text.ts';
import { sideBySide } from './side-by-side.ts';

/**
 * CSV as msit takes it from MindIE: a row a layer, a file a device, columns side by side; one step in all.
 * With a header and a column of row numbers too, as pandas writes them.
 */
export const MSIT_CSV: LoadFormat = {
  name: 'msit-csv',
  holds: 'loads',
  description:
    'msit / MindIE CSV, or of pandas: a row a layer, a file a device (decode_0.csv), columns side by side',
  extensions: ['.csv'],
  recognise: async (file) => {
    const [line = '', next = ''] = await firstLines(file);
    if (isNumberLine(line)) return line.includes(',') || file.extension === '.csv';
    // A header; the rows may begin with names.
    return file.extension === '.csv' && isNumberLine(next.replace(/^[^,]*,/, ''));
  },
  open: async (files, { numExperts }) => {
    checkOneKind(files);
    const found = [];
    for (const file of files) found.push(await readCsv(file));
    const step = sideBySide(found.map(({ table }) => table));
    const { layerNumbers } = found[0]!;
    const { name } = files[0]!;
    const shape = [step.numLayers, step.numExperts];
    const numBytes = sizeOf(files);
    checkLoadsShape(shape, name, numExperts, numBytes);
    const data = loadsFor(step.numLayers * step.numExperts, name);
    step.fill(data);
    const recording = arrayLoads({
      tensor: inMemory(data, shape),
      name,
      format: 'msit-csv',
      namedLoads: true,
      notes: [...new Set(found.flatMap(({ notes }) => notes)), ...deviceNotes(files, found)],
      numBytes,
    });
    return layerNumbers === undefined ? recording : { ...recording, layerNumbers };
  },
};

/** What is to be said of the files of several devices. */
function deviceNotes(files: readonly InputFile[], tables: readonly { readonly table: LoadText }[]): string[] {
  if (files.length === 1) return [];
  const numbers = files.map((file) => numberIn(basename(file.path)));
  const widths = tables.map(({ table }) => table.numColumns);
  return [
    `the columns of ${counted(files.length, 'file')}, one a device, stand side by side`,
    ...(numbers.every((number) => number !== undefined) ? gapNotes('device', numbers, 0) : []),
    ...widthNotes('device', widths, 'column'),
  ];
}

/** Prefill and decoding run on devices of their own: what both recorded is not one placement's load. */
function checkOneKind(files: readonly InputFile[]): void {
  const kinds = new Set(files.map((file) => basename(file.path).replace(/\d+\.\w+$/, '')));
  if (kinds.size <= 1) return;
  const shown = [...kinds]
    .slice(0, 4)
    .map((kind) => quote(`${kind}*`))
    .join(', ');
  throw new EplbError(
    'EPLB_FORMAT',
    `${files[0]!.name}: files of different kinds lie beside it (${shown}); one kind, such as ` +
      'decode_*.csv, is one recording',
  );
}

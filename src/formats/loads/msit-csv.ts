import { basename } from 'node:path';
import { EplbError } from '../../core/errors.ts';
import type { LoadFormat } from '../format.ts';
import { type InputFile, sizeOf } from '../input-file.ts';
import { counted } from '../number-text.ts';
import { firstLine } from '../recognise.ts';
import { quote } from '../text.ts';
import { checkLoadsShape } from './array.ts';
import { arrayLoads } from './array-loads.ts';
import { inMemory, numbersFor } from './json.ts';
import { LoadText } from './load-text.ts';
import { sideBySide } from './side-by-side.ts';

/** Numbers and commas, without a header. */
const NUMBERS = /^\s*[+-]?[\d.][\d.eE+-]*\s*(,\s*[+-]?[\d.][\d.eE+-]*\s*)*,?\s*$/;

/**
 * CSV as msit takes it from MindIE: a row a layer, a file a device, columns side by side; one step in all.
 */
export const MSIT_CSV: LoadFormat = {
  name: 'msit-csv',
  holds: 'loads',
  description:
    'msit / MindIE CSV without a header: a row a layer, a file a device (decode_0.csv), columns side by side',
  extensions: ['.csv'],
  recognise: async (file) => {
    const line = await firstLine(file);
    return NUMBERS.test(line) && (line.includes(',') || file.extension === '.csv');
  },
  open: async (files, { numExperts }) => {
    checkOneKind(files);
    const tables: LoadText[] = [];
    for (const file of files) tables.push(await LoadText.read(file, ','));
    const step = sideBySide(tables);
    const { name } = files[0]!;
    const shape = [step.numLayers, step.numExperts];
    const numBytes = sizeOf(files);
    checkLoadsShape(shape, name, numExperts, numBytes);
    const data = numbersFor(step.numLayers * step.numExperts, name);
    step.fill(data);
    return arrayLoads({
      tensor: inMemory(data, shape),
      name,
      format: 'msit-csv',
      namedLoads: true,
      notes:
        files.length === 1
          ? []
          : [`the columns of ${counted(files.length, 'file')}, one a device, stand side by side`],
      numBytes,
    });
  },
};

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

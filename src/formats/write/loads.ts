import { checkWhole, show } from '../../core/checks.ts';
import { EplbError, EplbTypeError } from '../../core/errors.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { checkSource } from '../check-recording.ts';
import { quote } from '../text.ts';
import type { StepsToWrite } from './load-chunks.ts';
import { LOAD_WRITER_NAMES, LOAD_WRITERS } from './registry.ts';

/**
 * Writes the steps of a recording as the bytes of a file. Steps are read in order, as the bytes are consumed.
 *
 * @param format - `npy`, `npz`, `json` or `json-lines`
 * @throws EplbError `EPLB_OPTION` for another format; EplbTypeError and EplbRangeError for invalid steps;
 *   while iterating, whatever the recording's reader throws
 */
export function writeLoads(
  format: string,
  steps: StepsToWrite,
): { chunks: AsyncIterable<Uint8Array>; notes: string[] } {
  const writer = LOAD_WRITERS.find(({ name }) => name === format);
  if (writer === undefined) {
    const known = LOAD_WRITER_NAMES.join(', ');
    throw new EplbError(
      'EPLB_OPTION',
      `loads are not written as ${quote(format)}; formats for them are ${known}`,
    );
  }
  const { recording, from, to, onStep } = checkOptions('steps', steps, ['recording', 'from', 'to', 'onStep']);
  checkSource(recording);
  checkWhole('steps.from', from, 0);
  checkWhole('steps.to', to, from);
  if (onStep !== undefined && typeof onStep !== 'function') {
    throw new EplbTypeError('EPLB_KIND', `steps.onStep: ${show(onStep)} is not a function`);
  }
  return { chunks: writer.chunks(steps), notes: writer.note === undefined ? [] : [writer.note] };
}

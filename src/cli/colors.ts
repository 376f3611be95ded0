import picocolors from 'picocolors';
import { wantsColor } from './terminal.ts';

/** picocolors, with colours or made without. */
export type Colors = ReturnType<typeof picocolors.createColors>;

/** The colours of the standard output: none where it cannot show them, or the user wants none. */
export function outputColors(): Colors {
  return picocolors.createColors(wantsColor(process.stdout));
}

import { basename } from 'node:path';
import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';
import type { PlacementFormat } from './placement.ts';
import { PLACEMENT_FORMATS, placementFormat } from './registry.ts';
import { sglang } from './sglang.ts';

/**
 * The format that a placement is written in: the one that is given, else the one that the file's name asks
 * for: `expert_map.json` and what ends so, `.yaml`, `.npy`, `.npz`; SGLang's JSON for any other name.
 *
 * @param to - name of the format, when given
 * @throws EplbError EPLB_OPTION for an unknown format, and for a name that asks for one that is not written
 */
export function formatToWrite(path: string, to: string | undefined): PlacementFormat {
  const name = basename(path).toLowerCase();
  const torch = /\.(pt|pth|pkl)$/.exec(name)?.[0];
  if (torch !== undefined) {
    throw new EplbError(
      'EPLB_OPTION',
      `${quote(path)}: ${torch} files are read, not written; SGLang takes .json too`,
    );
  }
  if (to !== undefined) return placementFormat(to, '--to');
  // The longest ending decides: expert_map.json before .json.
  const ends = PLACEMENT_FORMATS.flatMap((format) => format.extensions.map((end) => ({ end, format })));
  ends.sort((a, b) => b.end.length - a.end.length);
  return ends.find(({ end }) => name.endsWith(end))?.format ?? sglang;
}

/** What an engine makes of a file's name, where it decides by it; one sentence each, for people. */
export function nameNotes(path: string, format: PlacementFormat): string[] {
  // What goes to standard output has no name yet.
  const isRead = format !== sglang || path === '-' || path.toLowerCase().endsWith('.json');
  return isRead ? [] : ['SGLang reads the file only under a name that ends in .json'];
}

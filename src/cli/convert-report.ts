import { counted } from '../formats/number-text.ts';
import type { Colors } from './colors.ts';
import { type Fact, factLines } from './fact-list.ts';

/** What was converted, and what that cost: what `eplb convert --json` prints. */
export interface ConvertReport {
  readonly kind: 'convert-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly converted: 'loads' | 'placement';
  readonly from: { readonly path: string; readonly format: string };
  readonly to: { readonly path: string; readonly format: string; readonly bytes: number };
  /** [steps, layers, experts] of loads, [layers, slots] of a placement. */
  readonly shape: readonly number[];
  /** The same in words. */
  readonly holds: string;
  /** What was assumed, left out or dropped, one sentence each. */
  readonly notes: readonly string[];
}

/** A conversion for people. */
export function renderConversion(
  { converted, from, to, holds, notes }: ConvertReport,
  colors: Colors,
): string {
  const list: Fact[] = [
    ['read', `${from.path} (${converted}, ${from.format})`],
    ['holds', holds],
    ['written', `${to.path} (${to.format}, ${counted(to.bytes, 'byte')})`],
  ];
  for (const note of notes) list.push(['note', note]);
  return factLines(list, colors);
}

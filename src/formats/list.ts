import type { FormatFacts } from './format.ts';
import { PLACEMENT_FORMATS } from './placements/table.ts';
import { LOAD_FORMATS } from './table.ts';

/** Every format there is, of loads and of placements. */
export const FORMATS: readonly FormatFacts[] = [...LOAD_FORMATS, ...PLACEMENT_FORMATS];

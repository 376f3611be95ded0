import type { FormatFacts } from './format.ts';
import { LOAD_FORMATS } from './loads/registry.ts';
import { PLACEMENT_FORMATS } from './placements/registry.ts';

/** Every format there is, of loads and of placements. */
export const FORMATS: readonly FormatFacts[] = [...LOAD_FORMATS, ...PLACEMENT_FORMATS];

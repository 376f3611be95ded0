import type { LoadFormat } from './format.ts';
import { JSON_LOADS } from './loads/json.ts';
import { NPY_LOADS } from './loads/npy.ts';

/** The formats of recorded loads. The first one that recognises a file is taken. */
export const LOAD_FORMATS: readonly LoadFormat[] = [NPY_LOADS, JSON_LOADS];

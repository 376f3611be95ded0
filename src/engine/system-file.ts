import { loadBuiltin } from '../core/load-builtin.ts';

/** The text of a file of the system's, that may not be there: then it is empty. */
export function systemText(path: string): string {
  const { readFileSync } = loadBuiltin('node:fs') as typeof import('node:fs');
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

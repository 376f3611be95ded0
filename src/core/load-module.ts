import { createRequire } from 'node:module';

/**
 * Loads a module when it is first needed, so that importing this library does not: each takes a twentieth of
 * that and more, and even the function that loads them takes as long to make.
 */
export function loadModule(name: string): unknown {
  return createRequire(import.meta.url)(name);
}

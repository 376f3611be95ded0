import nodeModule from 'node:module';

/**
 * Loads a module of Node when it is first needed, so that importing this library does not: each takes a
 * twentieth of that and more, and even the function that loads them takes as long to make.
 */
export function loadBuiltin(name: `node:${string}`): unknown {
  // From Node 20.16 on. Before that any path will do. Not that of this file: a bundle in CommonJS has no
  // import.meta.
  return process.getBuiltinModule?.(name) ?? requireFrom(process.execPath)(name);
}

/**
 * A `require` from there on. Not by the name that webpack knows: it would resolve what is asked for itself.
 */
export const requireFrom = (path: string | URL): NodeJS.Require => nodeModule.createRequire(path);

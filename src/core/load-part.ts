import { requireFrom } from './load-builtin.ts';
import { packageFile } from './package-file.ts';

/** A part as its file has it: given what `require` is to answer it makes what the part exports. */
type Part = (require: () => object) => object;

/** All parts, where a bundler has put them into its bundle. */
let bundled: Readonly<Record<string, Part>> = {};

/** Has parts taken from a bundle, which their files are not beside. */
export function bundleParts(parts: Readonly<Record<string, Part>>): void {
  bundled = parts;
}

/**
 * Loads a part of the library that an import of it leaves out, in the midst of a call.
 *
 * @param name - of its file in dist/
 * @param library - what parts take from modules of the library, of whichever
 */
export function loadPart(name: string, library: object): object {
  const part = bundled[`${name}Part`] ?? (readPart(`${name}.cjs`) as Part);
  return part(() => library);
}

function readPart(file: string): unknown {
  const path = packageFile(file, () => new URL(file, import.meta.url));
  return requireFrom(path)(path);
}

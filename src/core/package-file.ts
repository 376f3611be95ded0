import { EplbError } from './errors.ts';
import { loadBuiltin, requireFrom } from './load-builtin.ts';
import { packageVersion } from './version.ts';

const PACKAGE = 'expert-load-balancer';

/**
 * The path of a file of this package that is read, or started as a thread, when it is needed. It lies beside
 * this code, unless that was bundled and the file was not taken along: then it is taken from the package as
 * it is installed, in the same version.
 *
 * @param name - in dist/
 * @param beside - where it lies as a rule: `new URL('./name', import.meta.url)`, as bundlers know it
 * @throws EplbError `EPLB_RUNTIME` when it is in neither place
 */
export function packageFile(name: string, beside: () => URL): string {
  const { existsSync } = loadBuiltin('node:fs') as typeof import('node:fs');
  const { fileURLToPath } = loadBuiltin('node:url') as typeof import('node:url');
  const { dirname, join } = loadBuiltin('node:path') as typeof import('node:path');
  const places = [
    () => fileURLToPath(beside()),
    // In CommonJS, where import.meta.url is undefined.
    () => join(__dirname, name),
    // A bundle of several files may have this code in a folder below.
    () => join(dirname(process.argv[1]!), name),
    () => installedFile(name),
  ];
  for (const place of places) {
    const path = orUndefined(place);
    if (path !== undefined && existsSync(path)) return path;
  }
  const message =
    `dist/${name} of ${PACKAGE} ${packageVersion()} is neither beside the bundle nor in node_modules: ` +
    'copy it there, or leave the package out of the bundle, as docs/bundlers.md in the package says';
  throw new EplbError('EPLB_RUNTIME', message);
}

/** Of the package that the bundle finds, when it is of this version. */
function installedFile(name: string): string | undefined {
  const { dirname, join } = loadBuiltin('node:path') as typeof import('node:path');
  const require = requireFrom(orUndefined(() => import.meta.url) ?? __filename);
  const manifest = require.resolve(`${PACKAGE}/package.json`);
  if (Reflect.get(require(manifest), 'version') !== packageVersion()) return undefined;
  return join(dirname(manifest), 'dist', name);
}

function orUndefined<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

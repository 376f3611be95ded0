import { readFileSync } from 'node:fs';

/** The package's version, as `eplb --version` prints it. */
export function packageVersion(): string {
  // From dist/, where this module is bundled to.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

import { readFile } from 'node:fs/promises';
import { packageFile } from '../core/package-file.ts';

/** The parts of every page that do not depend on what it shows; the build makes them. */
export interface ReportAssets {
  /** JavaScript, without `</script`. */
  readonly script: string;
  readonly style: string;
  /** Licences of what is in {@link script}. */
  readonly licences: string;
}

/** Where each part lies, as a bundler that takes it along knows it. */
const PLACES = {
  'page.js': () => new URL('./report/page.js', import.meta.url),
  'page.css': () => new URL('./report/page.css', import.meta.url),
  'LICENCES.txt': () => new URL('./report/LICENCES.txt', import.meta.url),
};

type PartName = keyof typeof PLACES;

/**
 * Reads the parts, from where the build wrote them to when nothing else is told.
 * @throws (as a rejection) EplbError `EPLB_RUNTIME` where they are not
 */
export async function readAssets(
  pathOf = (name: PartName) => packageFile(`report/${name}`, PLACES[name]),
): Promise<ReportAssets> {
  const read = (name: PartName) => readFile(pathOf(name), 'utf8');
  const [script, style, licences] = await Promise.all([
    read('page.js'),
    read('page.css'),
    read('LICENCES.txt'),
  ]);
  return { script, style, licences };
}

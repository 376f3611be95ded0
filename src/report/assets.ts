import { readFile } from 'node:fs/promises';

/** The parts of every page that do not depend on what it shows; the build makes them. */
export interface ReportAssets {
  /** JavaScript, without `</script`. */
  readonly script: string;
  readonly style: string;
  /** Licences of what is in {@link script}. */
  readonly licences: string;
}

/**
 * Reads the parts from the folder that the build wrote them to.
 *
 * @param folder - a URL that ends with a slash
 */
export async function readAssets(folder: URL): Promise<ReportAssets> {
  const read = (name: string) => readFile(new URL(name, folder), 'utf8');
  const [script, style, licences] = await Promise.all([
    read('page.js'),
    read('page.css'),
    read('LICENCES.txt'),
  ]);
  return { script, style, licences };
}

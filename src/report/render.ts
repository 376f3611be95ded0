import type { ReplayReport } from '../replay/result.ts';
import { readAssets } from './assets.ts';
import { reportPage } from './page.ts';

/**
 * Makes a report: one HTML page with its charts, that needs no other file and no network.
 *
 * @returns the page's text, to be written as UTF-8
 * @throws when the package is not built: its `report/` folder is beside the bundle
 */
export async function renderReport(report: ReplayReport): Promise<string> {
  return reportPage(report, await readAssets(new URL('./report/', import.meta.url)));
}

import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError, isOwnError } from '../core/errors.ts';
import { TransferPlan } from '../index.ts';
import { checkResult, REPORT_VERSION } from '../replay/report.ts';
import type { ReplayReport } from '../replay/result.ts';
import { readAssets } from './assets.ts';
import { type CalibrationReport, calibrationPage } from './calibration-page.ts';
import { reportPage } from './page.ts';
import { readTransferReportOptions, type TransferReportOptions, transferPage } from './transfer-page.ts';

/**
 * Makes a report: one HTML page with all charts, which needs no other file and no network.
 *
 * @returns the text of the page, to be written as UTF-8
 * @throws (as a rejection) EplbTypeError `EPLB_KIND` for a value that is not a report; EplbRangeError
 *   `EPLB_FORMAT` for a report of another version or with damaged fields, `EPLB_SHAPE` for one without a
 *   replay; EplbError `EPLB_RUNTIME` if a bundler left out the parts of a page
 */
export async function renderReport(report: ReplayReport): Promise<string> {
  if (typeof report !== 'object' || report === null || report.kind !== 'replay-report') {
    const message = `report: ${show(report)} is not what a replay, compare or sweep gives`;
    throw new EplbTypeError('EPLB_KIND', `${message}; of results, replayReport() makes one`);
  }
  if (report.formatVersion !== REPORT_VERSION) {
    const { formatVersion } = report as { readonly formatVersion: unknown };
    const by =
      typeof formatVersion === 'number' && formatVersion > REPORT_VERSION
        ? 'by a later version of the package, which can draw it'
        : 'by an earlier version of the package: make it anew';
    throw new EplbRangeError(
      'EPLB_FORMAT',
      `report: its formatVersion is ${show(formatVersion)}, not ${REPORT_VERSION}: it was made ${by}`,
    );
  }
  if (!Array.isArray(report.replays) || report.replays.length === 0)
    throw new EplbRangeError('EPLB_SHAPE', 'report: it holds no replay to draw');
  for (const [i, result] of report.replays.entries()) checkResult(`report.replays[${i}]`, result);
  const assets = await readAssets();
  try {
    return reportPage(report, assets);
  } catch (cause) {
    // A report has hundreds of fields, and only this reads them all.
    if (isOwnError(cause)) throw cause;
    const error = new EplbRangeError('EPLB_FORMAT', `report: is damaged: ${show(String(cause))}`);
    error.cause = cause;
    throw error;
  }
}

/**
 * Makes the page of a calibration, that needs no other file, no network and no script.
 *
 * @returns the page's text, to be written as UTF-8
 */
export async function renderCalibrationPage(report: CalibrationReport): Promise<string> {
  const { style } = await readAssets();
  return calibrationPage(report, style);
}

/**
 * Makes the page of a transfer plan: which rank sends what to which, and its rounds. The page needs no other
 * file and no network.
 *
 * @returns the text of the page, to be written as UTF-8
 * @throws (as a rejection) EplbTypeError `EPLB_KIND` for a value that is not a plan, or an option of another
 *   kind; EplbError `EPLB_RUNTIME` if a bundler left out the parts of a page
 * @example
 * ```ts
 * const plan = planTransfer(from, to, { numRanks: 16 });
 * await writeFile('moves.html', await renderTransferReport(plan, { from: 'now.json', to: 'next.json' }));
 * ```
 */
export async function renderTransferReport(
  plan: TransferPlan,
  options: TransferReportOptions = {},
): Promise<string> {
  if (!(plan instanceof TransferPlan)) {
    const message = `plan: ${show(plan)} is not a TransferPlan; TransferPlan.fromJSON makes one of its JSON`;
    throw new EplbTypeError('EPLB_KIND', message);
  }
  return transferPage(plan, readTransferReportOptions(options), await readAssets());
}

export type { ReplayReport } from '../replay/result.ts';
export { renderReport, renderTransferReport } from './render.ts';
export type { TransferReportOptions } from './transfer-page.ts';

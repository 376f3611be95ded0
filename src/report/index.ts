export type { ReplayReport } from '../replay/result.ts';
export { renderReport } from './render.ts';

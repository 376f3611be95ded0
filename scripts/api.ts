/** Writes the API report into docs/api/, from what is built: `npm run api`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { apiReport, ENTRY_POINTS } from './api-report.ts';

const folder = new URL('../docs/api/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const entry of ENTRY_POINTS.keys()) writeFileSync(new URL(`${entry}.txt`, folder), apiReport(entry));

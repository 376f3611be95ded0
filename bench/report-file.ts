import { readFileSync } from 'node:fs';
import type { Report, RunHead } from './report.ts';

/** @throws Error with a message for the user */
export function readReport(file: string): Report {
  let report: unknown;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isReport(report)) throw new Error(`${file}: not a report of this benchmark, or of another format`);
  return report;
}

function isReport(value: unknown): value is Report {
  const report = value as Partial<Report> | null;
  return report?.format === 2 && typeof report.machine === 'object' && Array.isArray(report.figures);
}

/** Why two runs are not to be compared; undefined when they are. */
export function unlikeness(base: RunHead, next: RunHead): string | undefined {
  const [was, is] = [base.machine, next.machine];
  if (was.cpu !== is.cpu) return `of different processors: ${was.cpu}, ${is.cpu}`;
  if (was.cores !== is.cores) return `on different numbers of cores: ${was.cores}, ${is.cores}`;
  if (was.node !== is.node) return `of different versions of Node: ${was.node}, ${is.node}`;
  if (base.seed !== next.seed) return `of different seeds: ${base.seed}, ${next.seed}`;
  if (base.isQuick !== next.isQuick) return 'one quick and one whole';
  return undefined;
}

import { judgeIntervals } from './judge-intervals.ts';
import { judgeNoise, judgeTrials } from './judge-noise.ts';
import { judgeSetting } from './judge-setting.ts';
import type { PlannerMaker } from './planners.ts';
import type { Directories } from './read-loads.ts';
import type { Result } from './results.ts';
import {
  generatedSettings,
  recordedSettings,
  type Seeds,
  type Source,
  settingName,
  sourceName,
} from './settings.ts';

/** What one process does at a time. */
export interface Job {
  readonly name: string;
  run(): Promise<Result>;
}

const NOISE_SEED = 20_250_718;

/** All there is to judge, the settings first, in an order that never changes. */
export function listJobs(
  directories: Directories,
  seeds: Seeds,
  planners: Readonly<Record<string, PlannerMaker>>,
): Job[] {
  const generated = generatedSettings(seeds);
  const recorded = directories.recordings === undefined ? [] : recordedSettings();
  return [
    ...[...generated, ...recorded].map((setting) => ({
      name: settingName(setting),
      run: () => judgeSetting(directories, setting, planners),
    })),
    ...distinct([...generated, ...recorded].map(({ source }) => source).filter(isLong)).map((source) => ({
      name: `${sourceName(source)}, intervals`,
      run: () => judgeIntervals(directories, source),
    })),
    { name: 'noise, windows', run: () => judgeNoise(NOISE_SEED) },
    { name: 'noise, first plans', run: () => judgeTrials(NOISE_SEED) },
  ];
}

/** Of the recordings only the sequence is long enough for a window of 64 steps and several plans. */
function isLong(source: Source): boolean {
  return source.kind === 'loads' || source.recording === 'sequence';
}

function distinct(sources: readonly Source[]): Source[] {
  return [...new Map(sources.map((source) => [sourceName(source), source])).values()];
}

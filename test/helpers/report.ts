import { fileURLToPath } from 'node:url';
import { DefaultEplbPolicy } from 'expert-load-balancer';
import { openRecording } from 'expert-load-balancer/formats';
import { type ReplayReport, type ReplayResult, replay } from 'expert-load-balancer/replay';
import { type ReportAssets, readAssets } from '../../src/report/assets.ts';
import { RECORDING } from './cli.ts';

/** What the build made for pages. */
export function builtAssets(): Promise<ReportAssets> {
  return readAssets((name) => fileURLToPath(new URL(`../../dist/report/${name}`, import.meta.url)));
}

/** A report of real replays: of the recording that ships, never balanced and by the default policy. */
export async function recordedReport(): Promise<ReplayReport> {
  const recording = await openRecording(RECORDING, { numExperts: 64, tokensPerStep: 64 });
  try {
    const { format, numLayers, numLogicalExperts, notes } = recording;
    const common = {
      numPhysicalExperts: 80,
      numRanks: 16,
      numNodes: 2,
      numGroups: 8,
      planningSeconds: 0.001,
    };
    const policy = new DefaultEplbPolicy();
    const replays: ReplayResult[] = [
      await replay(recording, { ...common, policy: 'static' }),
      await replay(recording, { ...common, policy, trigger: { interval: 16 }, layersPerStep: 4 }),
    ];
    const steps = { from: 0, to: null };
    return {
      kind: 'replay-report',
      formatVersion: 2,
      versions: { package: '0.1.0', node: process.version, platform: `${process.platform} ${process.arch}` },
      recording: { path: RECORDING, format, numLayers, numLogicalExperts, steps, notes, tokensPerStep: 64 },
      replays,
    };
  } finally {
    await recording.close();
  }
}

/** The same report, with other names for its policies. */
export function renamed(report: ReplayReport, names: readonly string[]): ReplayReport {
  const replays = report.replays.map((replay, i) => ({ ...replay, name: names[i] ?? replay.name }));
  return { ...report, replays };
}

import { jobNeeds } from '../engine/job-needs.ts';
import { carveJob, type JobLayout } from '../engine/layout.ts';
import { carveSamples, type SampleLayout } from '../loads/sample-memory.ts';
import { carveWindow, type WindowLayout } from '../loads/window-layout.ts';
import { kernelSizes } from '../memory/kernel-memory.ts';
import { kernelOf } from '../policy/kernels.ts';
import { carveGains, type GainLayout } from './gain-meter.ts';
import type { BalancerSettings } from './options.ts';

/**
 * Where everything of a balancer lies in its region of the kernels' memory: its rings, which are most of it,
 * come last.
 */
export interface BalancerLayout {
  readonly job: JobLayout;
  readonly samples: SampleLayout | undefined;
  readonly gains: GainLayout;
  readonly window: WindowLayout;
  /** From here on nothing is read before it is written. */
  readonly zeroedEnd: number;
  readonly end: number;
}

/** Lays a balancer's memory out. @param start where it begins */
export function carveBalancer(settings: BalancerSettings, start: number): BalancerLayout {
  const { topology, windowSize, maxSamples, rememberedSteps, request, maxWorkers } = settings;
  const kernel = request === undefined ? undefined : kernelOf(request);
  const sizes = kernelSizes();
  const needs = jobNeeds(topology, request, kernel, sizes, Math.max(maxWorkers, 1));
  const job = carveJob(topology, needs, start);
  const sampledSteps = Math.max(windowSize, rememberedSteps);
  const samples =
    maxSamples === 0 ? undefined : carveSamples(topology, sampledSteps, maxSamples, sizes, job.end);
  const gains = carveGains(topology, sizes, (samples ?? job).end);
  const window = carveWindow(topology, windowSize, sizes, gains.end);
  return { job, samples, gains, window, zeroedEnd: window.narrowRing, end: window.end };
}

import { performance } from 'node:perf_hooks';
import { MAX_DELAY_MS } from '../core/timers.ts';

/** Time, as tests can give it too. */
export interface ServeTime {
  /** Milliseconds that only grow. */
  now(): number;
  /** Calls back after a while. @returns what takes it back */
  after(ms: number, work: () => void): () => void;
}

/** The time of this process. */
export const REAL_TIME: ServeTime = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, Math.min(ms, MAX_DELAY_MS)).unref();
    return () => clearTimeout(timer);
  },
};

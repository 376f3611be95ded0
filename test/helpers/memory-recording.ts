import type { RecordedStep, ReplaySource, StepRange } from 'expert-load-balancer/replay';

/**
 * Steps [steps][layers][experts] as a recording. Its buffer is used again for every step, as readers' are.
 */
export function memoryRecording(steps: readonly (readonly (readonly number[])[])[]): ReplaySource {
  const numLayers = steps[0]?.length ?? 1;
  const numLogicalExperts = steps[0]?.[0]?.length ?? 1;
  return {
    numLayers,
    numLogicalExperts,
    async *steps(range: StepRange = {}): AsyncIterable<RecordedStep> {
      const { from = 0, to = steps.length } = range;
      const buffer = new Float32Array(numLayers * numLogicalExperts);
      for (let step = from; step < to; step++) {
        buffer.fill(Number.NaN);
        const loads = steps[step];
        if (loads === undefined) return;
        buffer.set(loads.flat());
        yield { step, loads: buffer, bytesRead: 4 * buffer.length * (step + 1) };
      }
    },
  };
}

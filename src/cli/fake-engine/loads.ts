import { EplbRangeError } from '../../core/errors.ts';
import type { LoadRecording, StepRange } from '../../formats/recording.ts';
import { quotePath } from '../../formats/text.ts';

/** The loads of a recording's steps, again from the first one after the last. */
export async function* endlessLoads(
  recording: LoadRecording,
  range: StepRange,
  path: string,
): AsyncGenerator<Float32Array, never> {
  for (;;) {
    let numSteps = 0;
    for await (const { loads } of recording.steps(range)) {
      numSteps++;
      yield loads;
    }
    if (numSteps === 0) {
      throw new EplbRangeError('EPLB_FORMAT', `--recording: ${quotePath(path)}: has no steps`);
    }
  }
}

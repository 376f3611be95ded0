import { checkAtLeast, checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkSource, checkStep, stepsOf } from '../formats/check-recording.ts';
import { addedOverSources } from '../formats/loads/source-sums.ts';
import type { RecordedStep, StepRange } from '../formats/recording.ts';
import { checkedSourceLoads } from '../formats/source-loads.ts';
import { SeededRandom } from './random.ts';
import type { ReplaySource } from './source.ts';

/**
 * The same recording with another number of tokens a step. Fewer: each count is thinned by a seeded draw, so
 * that experts without tokens come about as they would. More: the counts are enlarged, and experts without
 * tokens stay without; what was chance in the small step is then taken for popularity.
 *
 * @param times tokens of a step / those recorded, above 0
 * @param seed 0 to 2^32 - 1; each step has draws of its own, whatever steps are read before it
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` or `EPLB_NOT_WHOLE`
 * @example
 * ```ts
 * const decode = resized(recording, 1 / 16);
 * await replay(decode, { numPhysicalExperts: 80, numRanks: 16, policy: new DefaultEplbPolicy() });
 * ```
 */
export function resized(source: ReplaySource, times: number, seed = 1): ReplaySource {
  const { numLayers, numLogicalExperts } = checkSource(source);
  checkAtLeast('times', times, 0);
  if (times === 0 || times === Number.POSITIVE_INFINITY) {
    throw new EplbRangeError('EPLB_RANGE', `times: ${times} is not a finite number above 0`);
  }
  checkWhole('seed', seed, 0, 2 ** 32 - 1);
  const { routes, enlargedBy = 1, tokensTimes = 1, numSourceRanks } = source;
  async function* steps(range?: StepRange): AsyncGenerator<RecordedStep> {
    const numExperts = numLogicalExperts;
    const sum = addedOverSources('recording', {
      ...{ numLayers, numExperts, numSourceRanks: numSourceRanks ?? 0 },
    });
    for await (const recorded of stepsOf(source, range)) {
      checkStep(recorded, numLayers, numLogicalExperts);
      const random = new SeededRandom(seed, recorded.step);
      if (numSourceRanks === undefined) {
        yield { ...recorded, loads: thinned(recorded.loads, times, random) };
        continue;
      }
      const sizes = { numLayers, numLogicalExperts, numSourceRanks };
      const sourceLoads = thinned(checkedSourceLoads(recorded, sizes), times, random);
      yield { ...recorded, sourceLoads, loads: sum(sourceLoads, recorded.step) };
    }
  }
  return {
    numLayers,
    numLogicalExperts,
    ...(numSourceRanks === undefined ? {} : { numSourceRanks }),
    steps,
    ...(routes === undefined ? {} : { routes, tokensTimes: tokensTimes * times }),
    ...(Math.max(1, times * enlargedBy) === 1 ? {} : { enlargedBy: times * enlargedBy }),
  };
}

/**
 * Counts with `times` as many tokens: drawn from them when fewer, enlarged when more.
 *
 * @param loads counts; of what is not a whole number, the fraction is drawn too
 */
export function thinned(loads: Float32Array, times: number, random: SeededRandom): Float32Array {
  if (times >= 1) return loads.map((load) => load * times);
  return loads.map((load) => {
    // What is not a count is for the replay to refuse.
    if (!(load > 0 && load < Number.POSITIVE_INFINITY)) return load;
    const whole = Math.floor(load);
    const fraction = load - whole;
    const drawn = random.binomial(whole, times);
    return fraction > 0 && random.next() < fraction * times ? drawn + 1 : drawn;
  });
}

import { modelShape } from '../../cost/model-shapes.ts';
import { counted, grouped, percent, times } from '../../formats/number-text.ts';
import type { LoadRecording, StepRange } from '../../formats/recording.ts';
import { EplbError, EplbRangeError } from '../../index.ts';
import { contradiction } from '../option-values.ts';
import type { RecordingOptions } from './options.ts';

/** How a recording becomes one with so many tokens a rank. */
export interface Batch {
  /** Tokens that begin on a rank in a step; null where only loads are known. */
  readonly tokensPerRank: number | null;
  /** Tokens of routes that make a step, where they are cut anew. */
  readonly tokensPerStep?: number;
  /** Steps that are whole when they are. */
  readonly numSteps?: number;
  /** What its counts are multiplied by then: thinned below 1, enlarged above. */
  readonly times: number;
  readonly notes: readonly string[];
}

/** With fewer whole steps a batch is more than was recorded. */
const LEAST_STEPS = 16;
/** Steps that are enlarged then: enough to plan from, and each of as many tokens as there are. */
const ENLARGED_STEPS = 32;
/** Steps that a recording of loads is weighed by. */
const WEIGHED_STEPS = 256;
/** Batches nearer than this to the recorded one are it. */
const SAME = 0.005;

/**
 * The batch that is asked for with `--tokens-per-rank`, or as recorded.
 *
 * @param recording opened with the options as they are
 * @param numRanks ranks that the tokens begin on
 * @throws EplbError `EPLB_OPTION` where how many experts a token has is not known
 */
export async function batchOf(
  recording: LoadRecording,
  options: RecordingOptions,
  numRanks: number,
): Promise<Batch> {
  const { tokensPerRank, tokensPerStep } = options;
  const { routes } = recording;
  if (tokensPerRank === undefined) {
    return {
      tokensPerRank: routes === undefined ? null : routes.tokensPerStep / numRanks,
      times: 1,
      notes: [],
    };
  }
  if (tokensPerStep !== undefined) {
    throw contradiction(
      '--tokens-per-rank: --tokens-per-step says how large a step is, too; give one of them',
    );
  }
  const wanted = tokensPerRank * numRanks;
  if (routes !== undefined) return { tokensPerRank, ...cutRoutes(routes.numTokens, wanted) };
  return { tokensPerRank, ...(await resizeCounts(recording, options, wanted)) };
}

function cutRoutes(numTokens: number, wanted: number): Omit<Batch, 'tokensPerRank'> {
  const numSteps = Math.floor(numTokens / wanted);
  if (numSteps >= LEAST_STEPS) return { tokensPerStep: wanted, numSteps, times: 1, notes: [] };
  const tokensPerStep = Math.max(1, Math.floor(numTokens / ENLARGED_STEPS));
  const enlarged = wanted / tokensPerStep;
  const steps = Math.floor(numTokens / tokensPerStep);
  return {
    tokensPerStep,
    numSteps: steps,
    times: enlarged,
    notes: [
      `enlarged: ${grouped(numTokens)} tokens were recorded, less than ${LEAST_STEPS} steps of ` +
        `${grouped(wanted)}; these are ${steps} steps of ${grouped(tokensPerStep)}, ${times(enlarged)} times as ` +
        'large: chance in them counts as popularity, and active experts are not judged',
    ],
  };
}

async function resizeCounts(
  recording: LoadRecording,
  options: RecordingOptions,
  wanted: number,
): Promise<Omit<Batch, 'tokensPerRank'>> {
  const topK = topKOf(options);
  const recorded = (await meanLoad(recording)) / topK;
  if (recorded === 0) throw new EplbRangeError('EPLB_LOAD', '--tokens-per-rank: the recording holds no load');
  const factor = wanted / recorded;
  if (Math.abs(factor - 1) < SAME) return { times: 1, notes: [] };
  const was = `${counted(Math.round(recorded), 'token')} a step as recorded`;
  const note =
    factor < 1
      ? `thinned: ${was}, of which a seeded draw leaves ${percent(factor)}`
      : `enlarged: ${was}, made ${times(factor)} times as large: chance in them counts as popularity, and ` +
        'active experts are not judged';
  return { times: factor, notes: [note] };
}

/** Experts of a token: what is said, or what the model has. */
function topKOf({ topK, model }: RecordingOptions): number {
  if (topK !== undefined) return topK;
  if (model !== undefined) return modelShape(model).topK;
  throw new EplbError(
    'EPLB_OPTION',
    '--tokens-per-rank: the recording holds loads, so how many experts a token has is not known: give --top-k ' +
      'or --model',
  );
}

/** Mean load of a layer in a step, over the first steps. */
async function meanLoad(recording: LoadRecording): Promise<number> {
  let sum = 0;
  let numSteps = 0;
  const range: StepRange = { from: 0, to: WEIGHED_STEPS };
  for await (const { loads } of recording.steps(range)) {
    for (const load of loads) sum += load;
    numSteps++;
  }
  return numSteps === 0 ? 0 : sum / (numSteps * recording.numLayers);
}

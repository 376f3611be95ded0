import { EplbRangeError } from '../../core/errors.ts';
import { DEFAULT_TOKENS_PER_STEP, type OpenOptions } from '../open-options.ts';
import type { RouteRun, StepRange, StoredRecording } from '../recording.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { shareOf } from './array-loads.ts';
import type { FoundArray } from './found-array.ts';
import { lookAtRoutes, readIds } from './route-rows.ts';
import { routesRecording } from './routes.ts';
import { checkStepSize } from './step-size.ts';

/** Most experts of a layer: ids are held in 16 bits, and one of them stands for none. */
const MOST_EXPERTS = (1 << 16) - 1;

/**
 * Routes [tokens, layers, topK] of a file, as a recording. They are looked through once, for what cannot be
 * true of them.
 *
 * @throws EplbRangeError EPLB_RANGE for more experts than ids can name, or an id that is not an expert;
 *   EplbError EPLB_FORMAT for routes that cannot be true
 */
export async function arrayRoutes(
  found: FoundArray,
  numExperts: number,
  { tokensPerStep = DEFAULT_TOKENS_PER_STEP, allowDuplicates = false }: OpenOptions,
): Promise<StoredRecording> {
  const { name, format, numBytes, tensor } = found;
  const [numTokens, numLayers, topK] = tensor.shape as [number, number, number];
  if (numExperts > MOST_EXPERTS) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `--experts: ${numExperts}; routes are read of up to ${MOST_EXPERTS} experts`,
    );
  }

  checkStepSize([numLayers, numExperts], numBytes, name);
  const notes = [...found.notes, ...(await lookAtRoutes(tensor, numExperts, name, allowDuplicates))];

  async function* read({ from = 0, to = numTokens }: StepRange = {}): AsyncGenerator<RouteRun> {
    const perToken = numLayers * topK;
    let ids = new Uint16Array(0);
    for await (const block of blocksOf(tensor, from, Math.min(to, numTokens))) {
      if (from === 0 && block.to === numTokens) await tensor.source.verify?.();
      const count = (block.to - block.from) * perToken;
      if (ids.length < count) ids = new Uint16Array(count);
      const out = ids.subarray(0, count);
      readIds(block, tensor, numExperts, name, out);
      yield { firstToken: block.from, numTokens: block.to - block.from, ids: out };
    }
  }

  return routesRecording({
    format,
    numLayers,
    numLogicalExperts: numExperts,
    numBytes,
    notes,
    numberType: tensor.type,
    ...(tensor.source.verify === undefined ? {} : { hasChecksums: true }),
    routes: { numTokens, topK, tokensPerStep, read },
    bytesUpTo: (token) => shareOf(numBytes, token, numTokens),
    close: () => tensor.source.close(),
  });
}

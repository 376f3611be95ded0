import { EplbRangeError } from '../../core/errors.ts';
import type { RouteRun, StepRange, StoredRecording } from '../recording.ts';
import { blocksOf } from '../tensor/blocks.ts';
import { decodeIds, numberAt } from '../tensor/decode.ts';
import { shareOf } from './array-loads.ts';
import type { FoundArray } from './found-array.ts';
import { routesRecording } from './routes.ts';
import { checkStepSize } from './step-size.ts';

/** Most experts of a layer: ids are held in 16 bits. */
const MOST_EXPERTS = 1 << 16;

/**
 * Routes [tokens, layers, topK] of a file, as a recording. Nothing is read before it is asked for.
 *
 * @throws EplbRangeError EPLB_RANGE for more experts than ids can name; while reading, for an id that is no
 *   expert
 */
export function arrayRoutes(found: FoundArray, numExperts: number, tokensPerStep: number): StoredRecording {
  const { name, format, notes, numBytes, tensor } = found;
  const [numTokens, numLayers, topK] = tensor.shape as [number, number, number];
  if (numExperts > MOST_EXPERTS) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `--experts: ${numExperts}; routes are read of up to ${MOST_EXPERTS} experts`,
    );
  }

  checkStepSize([numLayers, numExperts], numBytes, name);

  async function* read({ from = 0, to = numTokens }: StepRange = {}): AsyncGenerator<RouteRun> {
    const perToken = numLayers * topK;
    let ids = new Uint16Array(0);
    for await (const block of blocksOf(tensor, from, Math.min(to, numTokens))) {
      if (from === 0 && block.to === numTokens) await tensor.source.verify?.();
      const count = (block.to - block.from) * perToken;
      if (ids.length < count) ids = new Uint16Array(count);
      const out = ids.subarray(0, count);
      const bad = decodeIds(block.bytes, tensor.type, out, numExperts);
      if (bad >= 0) {
        const row = Math.floor(bad / topK);
        const at = `token ${block.from + Math.floor(row / numLayers)}, layer ${row % numLayers}`;
        throw new EplbRangeError(
          'EPLB_RANGE',
          `${name}: expert id ${numberAt(block.bytes, tensor.type, bad)} at ${at}; ids go from 0 to ` +
            `${numExperts - 1} ` +
            `with --experts ${numExperts} (read as routes because the last dimension, ${topK}, is not the ` +
            'number of experts)',
        );
      }
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

import { checkBoolean, checkLayer, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';

/** Options of `ExpertLoadBalancer.commit`. */
export interface CommitOptions {
  /**
   * The generation that the mapping was made from: the mapping goes live only while that generation is live.
   */
  readonly from?: number;
  /**
   * Makes the mapping live whatever it was made from, and replaces any mapping that went live in the
   * meantime.
   */
  readonly force?: boolean;
}

/** Reads each option once. @throws EplbTypeError, EplbRangeError */
export function readCommitOptions(options: CommitOptions): CommitOptions & { readonly force: boolean } {
  const { from, force = false } = checkOptions('options', options, ['from', 'force']);
  if (from !== undefined) checkWhole('from', from, 0);
  return { ...(from === undefined ? {} : { from }), force: checkBoolean('force', force) };
}

/** The layers to commit, read once. @throws EplbTypeError, EplbRangeError */
export function readLayers(layers: readonly number[], numLayers: number): ReadonlySet<number> {
  if (!Array.isArray(layers))
    throw new EplbTypeError('EPLB_KIND', `layers: ${show(layers)} is not an array of layers`);
  const named = new Set<number>();
  for (const layer of Array.from(layers)) {
    checkLayer('layers', layer, numLayers);
    if (named.has(layer)) throw new EplbRangeError('EPLB_LAYER', `layers: ${layer} is named twice`);
    named.add(layer);
  }
  if (named.size === 0) throw new EplbRangeError('EPLB_SHAPE', 'layers: none is named');
  return named;
}

import { checkOptions } from '../../core/known-keys.ts';
import { ADAPTIVE_NAMES, type AdaptiveEplbPolicyOptions } from './options.ts';

/**
 * What a {@link LocalityAwarePolicy} may trade: all that an {@link AdaptiveEplbPolicy} may, but that `linkPrice`
 * is 10 when left out, `tolerance` 0.05, `maxSamples` 4 and `rememberedSteps` 0: it plans with the window.
 */
export type LocalityAwarePolicyOptions = Omit<AdaptiveEplbPolicyOptions, 'locality'>;

/** What links cost: so much that within the tolerance they come first. */
const LINK_PRICE = 10;
/** How much balance they may cost. */
const TOLERANCE = 0.05;
/** Samples lie four by four: fewer take no less time. */
const SAMPLES = 4;

/** The locality policy's options with its defaults, where these are others than the adaptive policy's. */
export function localityOptions(options: LocalityAwarePolicyOptions): AdaptiveEplbPolicyOptions {
  checkOptions(
    'options',
    options,
    ADAPTIVE_NAMES.filter((name) => name !== 'locality'),
  );
  const {
    linkPrice = LINK_PRICE,
    tolerance = TOLERANCE,
    maxSamples = SAMPLES,
    rememberedSteps = 0,
    ...others
  } = options;
  return { ...others, linkPrice, tolerance, maxSamples, rememberedSteps };
}

import { checkOptions } from '../../core/known-keys.ts';
import { ADAPTIVE_NAMES, type AdaptiveEplbPolicyOptions } from './options.ts';

/**
 * What a {@link LocalityAwarePolicy} may trade: all that an {@link AdaptiveEplbPolicy} may, with these
 * defaults. It plans for even dispatch.
 */
export interface LocalityAwarePolicyOptions extends Omit<AdaptiveEplbPolicyOptions, 'locality' | 'dispatch'> {
  /** As of {@link AdaptiveEplbPolicyOptions}. Default 10: links come first, within the tolerance. */
  readonly linkPrice?: number;
  /** As of {@link AdaptiveEplbPolicyOptions}. Default 0.05. */
  readonly tolerance?: number;
  /** At most so many samples of the window, from 1 to 64. Default 4. */
  readonly maxSamples?: number;
  /** Steps that a balancer remembers beyond its window. Default 0: it plans with the window. */
  readonly rememberedSteps?: number;
}

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
    ADAPTIVE_NAMES.filter((name) => name !== 'locality' && name !== 'dispatch'),
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

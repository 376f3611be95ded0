import { checkAtLeast, checkNumber, checkWhole } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { MAX_SIZE } from '../core/topology.ts';
import { checkRange } from '../formats/check-recording.ts';
import type { RecordedStep, StepRange } from '../formats/recording.ts';
import { zeros } from '../memory/allocate.ts';
import { SeededRandom } from './random.ts';

/** What a synthetic recording is to be like. */
export interface SynthOptions {
  readonly numLayers: number;
  readonly numExperts: number;
  /** Experts that a token is routed to in a layer. */
  readonly topK: number;
  readonly numSteps: number;
  readonly tokensPerStep: number;
  /** The same seed and options give the same recording. */
  readonly seed: number;
  /**
   * How unevenly experts are liked: popularity of an expert = exp(skew x a normal number). 0: all alike; 1:
   * in a layer of 64 the hottest has about 6 times the mean.
   */
  readonly skew: number;
  /**
   * Share of the experts of a layer that burst in a step, each for that step and `burstGain` times its
   * popularity.
   */
  readonly burst: number;
  readonly burstGain: number;
  /**
   * How much popularity wanders: per step, the normal number n behind an expert becomes sqrt(1 - drift^2) n +
   * drift x a new one. 0: never; 1: anew at every step.
   */
  readonly drift: number;
  /** Domains that follow one another, each with popularities of its own, in runs of equal length. */
  readonly domains: number;
  /** Steps over which one domain passes into the next; 0: at once. */
  readonly blendSteps: number;
}

/** The shape, and whatever is to be other than {@link SYNTH_DEFAULTS}. */
export type SynthInit = Pick<SynthOptions, 'numLayers' | 'numExperts' | 'topK'> & Partial<SynthOptions>;

/** All but the shape. */
export const SYNTH_DEFAULTS = {
  numSteps: 1000,
  tokensPerStep: 4096,
  seed: 1,
  skew: 1,
  burst: 0,
  burstGain: 8,
  drift: 0,
  domains: 1,
  blendSteps: 0,
} as const;

/**
 * Makes loads [steps x layers x experts] one step after the other, in memory that does not grow with the
 * steps. Tokens are whole: in every layer and step the loads add up to tokensPerStep x topK, spread over the
 * experts by their popularity with the noise of sampling (a multinomial, drawn as binomials one expert after
 * the other); an expert gets at most one of a token's topK, so never more than tokensPerStep.
 *
 * @throws EplbTypeError, EplbRangeError naming the option
 */
export function synthesize(options: SynthInit): SyntheticLoads {
  return new SyntheticLoads(options);
}

/** A recording that is made as it is read. */
export class SyntheticLoads {
  /** Complete: what was left out has its default. */
  readonly options: SynthOptions;

  /** @throws as {@link synthesize} */
  constructor(options: SynthInit) {
    this.options = readSynthOptions(options);
  }

  get numLayers(): number {
    return this.options.numLayers;
  }

  get numLogicalExperts(): number {
    return this.options.numExperts;
  }

  get numSteps(): number {
    return this.options.numSteps;
  }

  /**
   * The steps, made from the first on however late the range begins: popularity wanders from step to step.
   */
  async *steps(range: StepRange = {}): AsyncGenerator<RecordedStep> {
    checkRange('steps', range);
    const { from = 0, to = this.options.numSteps } = range;
    const state = new SynthState(this.options);
    for (let step = 0; step < to; step++) {
      state.advance(step);
      if (step >= from) yield { step, loads: state.loads, bytesRead: state.loads.byteLength * (step + 1) };
    }
  }
}

class SynthState {
  /** [layers x experts] of the step that was made last. */
  readonly loads: Float32Array;
  readonly #options: SynthOptions;
  readonly #random: SeededRandom;
  /** A normal number for every domain, layer and expert. */
  readonly #likings: readonly Float64Array[];
  readonly #shares: Float64Array;

  constructor(options: SynthOptions) {
    const { numLayers, numExperts, seed, domains } = options;
    this.#options = options;
    this.#random = new SeededRandom(seed);
    const what = `synth: ${domains} domains of ${numLayers} layers x ${numExperts} experts`;
    this.loads = zeros(what, Float32Array, numLayers * numExperts);
    this.#shares = zeros(what, Float64Array, numExperts);
    this.#likings = Array.from({ length: domains }, (_, domain) => {
      const random = new SeededRandom(seed, 1 + domain);
      return zeros(what, Float64Array, numLayers * numExperts).map(() => random.normal());
    });
  }

  advance(step: number): void {
    const { numLayers, drift } = this.#options;
    if (step > 0 && drift > 0) this.#wander();
    const { domain, next, weight } = this.#domainsAt(step);
    for (let layer = 0; layer < numLayers; layer++) {
      this.#likeLayer(layer, domain, next, weight);
      this.#drawLayer(layer);
    }
  }

  #wander(): void {
    const { drift } = this.#options;
    const kept = Math.sqrt(1 - drift ** 2);
    for (const likings of this.#likings) {
      for (let i = 0; i < likings.length; i++)
        likings[i] = kept * likings[i]! + drift * this.#random.normal();
    }
  }

  /** The domain of a step, the one that it passes into, and how far it has. */
  #domainsAt(step: number): { domain: number; next: number; weight: number } {
    const { numSteps, domains, blendSteps } = this.#options;
    const domain = Math.min(domains - 1, Math.floor((step * domains) / numSteps));
    const end = Math.ceil(((domain + 1) * numSteps) / domains);
    const left = end - step;
    if (domain === domains - 1 || left > blendSteps) return { domain, next: domain, weight: 0 };
    return { domain, next: domain + 1, weight: 1 - left / (blendSteps + 1) };
  }

  /** Fills the shares of a layer's experts. */
  #likeLayer(layer: number, domain: number, next: number, weight: number): void {
    const { numExperts, skew, burst, burstGain } = this.#options;
    let total = 0;
    for (let expert = 0; expert < numExperts; expert++) {
      const at = layer * numExperts + expert;
      let liking = Math.exp(skew * this.#likings[domain]![at]!);
      if (weight > 0) liking = (1 - weight) * liking + weight * Math.exp(skew * this.#likings[next]![at]!);
      if (burst > 0 && this.#random.next() < burst) liking *= burstGain;
      this.#shares[expert] = liking;
      total += liking;
    }
    for (let expert = 0; expert < numExperts; expert++) this.#shares[expert]! /= total;
  }

  #drawLayer(layer: number): void {
    const { numExperts, tokensPerStep, topK } = this.#options;
    let left = tokensPerStep * topK;
    let shareLeft = 1;
    for (let expert = 0; expert < numExperts; expert++) {
      const others = numExperts - expert - 1;
      const share = this.#shares[expert]!;
      const drawn = others === 0 ? left : this.#random.binomial(left, Math.min(1, share / shareLeft));
      // No expert gets more than all tokens, nor so few that the others could not take the rest.
      const load = Math.max(left - others * tokensPerStep, Math.min(tokensPerStep, drawn));
      this.loads[layer * numExperts + expert] = load;
      left -= load;
      shareLeft -= share;
    }
  }
}

const NAMES = ['numLayers', 'numExperts', 'topK', ...Object.keys(SYNTH_DEFAULTS)];

/** Reads each option once, and fills in what is left out. */
function readSynthOptions(given: SynthInit): SynthOptions {
  const {
    numLayers,
    numExperts,
    topK,
    numSteps = SYNTH_DEFAULTS.numSteps,
  } = checkOptions('options', given, NAMES);
  const {
    tokensPerStep = SYNTH_DEFAULTS.tokensPerStep,
    seed = SYNTH_DEFAULTS.seed,
    skew = SYNTH_DEFAULTS.skew,
  } = given;
  const {
    burst = SYNTH_DEFAULTS.burst,
    burstGain = SYNTH_DEFAULTS.burstGain,
    drift = SYNTH_DEFAULTS.drift,
  } = given;
  const { domains = SYNTH_DEFAULTS.domains, blendSteps = SYNTH_DEFAULTS.blendSteps } = given;
  checkWhole('numLayers', numLayers, 1, MAX_SIZE);
  checkWhole('numExperts', numExperts, 1, MAX_SIZE);
  checkWhole('topK', topK, 1, numExperts);
  checkWhole('numSteps', numSteps, 1);
  checkWhole('tokensPerStep', tokensPerStep, 1, MAX_SIZE);
  checkWhole('seed', seed, 0, 2 ** 32 - 1);
  checkWhole('domains', domains, 1, numSteps);
  checkWhole('blendSteps', blendSteps, 0);
  checkAtLeast('skew', skew, 0);
  checkAtLeast('burstGain', burstGain, 0);
  checkShare('burst', burst);
  checkShare('drift', drift);
  return {
    ...{ numLayers, numExperts, topK, numSteps, tokensPerStep, seed },
    ...{ skew, burst, burstGain, drift, domains, blendSteps },
  };
}

function checkShare(title: string, value: unknown): void {
  const share = checkNumber(title, value);
  if (!(share >= 0 && share <= 1))
    throw new EplbRangeError('EPLB_RANGE', `${title}: ${share} is not from 0 to 1`);
}

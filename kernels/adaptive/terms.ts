// What the adaptive policy's kernels are asked and what they answer: a struct in the caller's memory. The
// caller writes and reads its fields at the offsets that this file exports, so that no other place knows
// where they are.

/** All pointers are byte offsets. */
export class AdaptiveTerms {
  /**
   * What a move costs, and the least that a step has to gain: shares of the mean rank load, off the
   * objective.
   */
  price: f64;
  leastGain: f64;
  /**
   * What it costs that all pairs of experts are on different nodes, a share of the mean rank load; and the
   * sum of all pairs, see pairs.ts.
   */
  linkPrice: f64;
  pairsTotal: f64;
  /** Out, of a search: what links cost less than if no pair shared a node, before and after. */
  savedBefore: f64;
  savedAfter: f64;
  /** The highest time that a rank may come to with `ceilingLoads`: load / speed. */
  ceiling: f64;
  /**
   * Out, of a search: the objective without the price, of the live placement, repaired, and of the result.
   */
  before: f64;
  after: f64;
  /** Out, of a search: steps looked at closely, and all work, see bounds.ts. */
  evaluations: f64;
  work: f64;
  /** Out, of the samples: see samples.ts. */
  noise: f64;
  numTelling: f64;
  numVarying: f64;
  passing: f64;
  forgetting: f64;
  turnover: f64;
  shrink: f64;
  prior: f64;
  /** Out, of the change: see change.ts. */
  distance: f64;
  numNewSteps: f64;
  /** How many steps joined ones of `steps` are the mean of, but the newest of them; and that one. */
  stepLength: f64;
  newestLength: f64;
  /** Out, of the samples: the loads of all steps. */
  totalLoad: f64;
  /**
   * Out, of the samples: what the slots of a rank take in the mean, were each expert in one slot: objectives
   * are shares of it; 1 without a curve. And by what share that grows with tokens, of theirs.
   */
  unit: f64;
  elasticity: f64;

  numExperts: i32;
  /** Slots of all ranks, open and closed. */
  numSlots: i32;
  numRanks: i32;
  /** Experts stay on the node they start on; 1: they may go anywhere. */
  numNodes: i32;
  /** Samples that the scratch has room for: see adaptiveScratchBytes. */
  maxSamples: i32;
  /** i32[numRanks]: how many slots of a rank are open, its first ones; 0: all are. */
  slotsPerRank: usize;
  /**
   * u8[numExperts]: 1 for experts that keep copies in two failure domains; 0, no pointer: there are none.
   * They are at most as many as redundant slots, and as slots outside the largest domain. With
   * i32[numRanks]: the domain of each rank. Not beside experts that stay on their node.
   */
  survivors: usize;
  domains: usize;
  /** f32[numRanks]: how fast a rank is, 1 in the mean of all; 0: all ranks are alike. */
  rankSpeed: usize;
  /**
   * f32[numExperts * numExperts made a multiple of 4]: how often two experts are picked together, see
   * pairs.ts; 0, no pointer: links do not count. With i32[numRanks]: the node of each rank, of at most 64.
   */
  pairs: usize;
  nodeOfRank: usize;
  numLinkNodes: i32;
  /**
   * 1: in place of pairs, what each expert is worth on each node, whatever else is there: whole numbers,
   * f32[numLinkNodes * numExperts made a multiple of 4]. Tokens that take the nearest copy cross no nodes
   * where their own has one.
   */
  isNearest: i32;
  /** f32[numExperts]: loads by which no rank may come above `ceiling`; 0, no pointer: there is none. */
  ceilingLoads: usize;
  /** Out, of a search: 1 where no rank is above it. */
  isBelow: i32;
  /**
   * u8[numRanks * numExperts]: 1 where a rank has to have a copy of an expert; 0, no pointer: no rule says
   * where experts are. With i32[numExperts] each: ranks that an expert is pinned to, and the most copies that
   * it may have. No rank has fewer slots than pins, and there is a placement of all slots. Not beside experts
   * that stay on their node.
   */
  pinned: usize;
  numPins: usize;
  mostCopies: usize;
  /**
   * f32[numRanks]: the load of a shared expert on each rank, as a share of that of all routed ones; 0, no
   * pointer: there is none. With f32[numRanks * numSamples made a multiple of 4], working space: what that
   * costs.
   */
  fixedShare: usize;
  fixedLoad: usize;
  /** What a slot takes for its tokens, see curve.ts; 0: their number. */
  curve: usize;
  /** f32[numSamples made a multiple of 4], out, of the samples: the mean tokens of a rank. */
  tokens: usize;
  /** Working space: adaptiveScratchBytes. */
  scratch: usize;

  /** f32: the layer's loads of step n begin `stride` bytes times n behind `steps`. */
  steps: usize;
  stride: usize;
  /** How many there are, oldest first; and how many of the newest are single steps. */
  numSteps: i32;
  numSingles: i32;
  /** f32[numExperts made a multiple of 4]: the loads expected; and the first of the steps that is newer. */
  expected: usize;
  firstNew: i32;
  /**
   * Out, of the samples: how many there are with those that fill up, and whether they are nothing but noise.
   */
  numSamples: i32;
  isNoise: i32;
  /** What the search is made for, out of samples.ts: see there. */
  samples: usize;
  spread: usize;
  weights: usize;
  mean: usize;
  middle: usize;
  likeness: usize;

  /** i32[numSlots], -1 where a slot is empty: the live placement. */
  previous: usize;
  /** i32[numSlots], or 0: another placement to start from. */
  fresh: usize;
  /** Whether the search starts with its copies dealt out anew: see starts.ts. */
  dealsCopies: i32;
  /** Whether the norm is 16, and not 8; where ranks are too unlike for it, it is 8. */
  isSharp: i32;
  maxMoves: i32;
  /** Ranks looked at from one start, and descents, each by a new tangent. */
  maxVisits: i32;
  maxPasses: i32;
  /** Ranks in a row without a step that end such a descent. */
  maxIdle: i32;
  maxEvaluations: i32;
  numKicks: i32;
  /** Steps of a walk in a row that may lead nowhere, see walk.ts. */
  walkPatience: i32;
  /** i32: not 0 when the search is to end; 0, no pointer: nothing cancels it. */
  cancelled: usize;
  /** i32[numSlots], -1 where a slot is empty; and f64[numSteps], out: see slowest.ts. */
  placement: usize;
  slowest: usize;
  /** i32[numSlots] each, out: see search.ts. */
  phyToLog: usize;
  replicaRank: usize;
  /** Out: slots of the result whose expert was not on that rank. */
  moves: i32;
  /** Out: ranks looked at. */
  visits: i32;
}

export const adaptiveTermsBytes: usize = offsetof<AdaptiveTerms>();
export const adaptive_price: usize = offsetof<AdaptiveTerms>('price');
export const adaptive_leastGain: usize = offsetof<AdaptiveTerms>('leastGain');
export const adaptive_linkPrice: usize = offsetof<AdaptiveTerms>('linkPrice');
export const adaptive_pairsTotal: usize = offsetof<AdaptiveTerms>('pairsTotal');
export const adaptive_savedBefore: usize = offsetof<AdaptiveTerms>('savedBefore');
export const adaptive_savedAfter: usize = offsetof<AdaptiveTerms>('savedAfter');
export const adaptive_ceiling: usize = offsetof<AdaptiveTerms>('ceiling');
export const adaptive_before: usize = offsetof<AdaptiveTerms>('before');
export const adaptive_after: usize = offsetof<AdaptiveTerms>('after');
export const adaptive_evaluations: usize = offsetof<AdaptiveTerms>('evaluations');
export const adaptive_work: usize = offsetof<AdaptiveTerms>('work');
export const adaptive_noise: usize = offsetof<AdaptiveTerms>('noise');
export const adaptive_numTelling: usize = offsetof<AdaptiveTerms>('numTelling');
export const adaptive_numVarying: usize = offsetof<AdaptiveTerms>('numVarying');
export const adaptive_forgetting: usize = offsetof<AdaptiveTerms>('forgetting');
export const adaptive_turnover: usize = offsetof<AdaptiveTerms>('turnover');
export const adaptive_passing: usize = offsetof<AdaptiveTerms>('passing');
export const adaptive_shrink: usize = offsetof<AdaptiveTerms>('shrink');
export const adaptive_prior: usize = offsetof<AdaptiveTerms>('prior');
export const adaptive_numExperts: usize = offsetof<AdaptiveTerms>('numExperts');
export const adaptive_numSlots: usize = offsetof<AdaptiveTerms>('numSlots');
export const adaptive_numRanks: usize = offsetof<AdaptiveTerms>('numRanks');
export const adaptive_numNodes: usize = offsetof<AdaptiveTerms>('numNodes');
export const adaptive_maxSamples: usize = offsetof<AdaptiveTerms>('maxSamples');
export const adaptive_slotsPerRank: usize = offsetof<AdaptiveTerms>('slotsPerRank');
export const adaptive_survivors: usize = offsetof<AdaptiveTerms>('survivors');
export const adaptive_domains: usize = offsetof<AdaptiveTerms>('domains');
export const adaptive_rankSpeed: usize = offsetof<AdaptiveTerms>('rankSpeed');
export const adaptive_pairs: usize = offsetof<AdaptiveTerms>('pairs');
export const adaptive_nodeOfRank: usize = offsetof<AdaptiveTerms>('nodeOfRank');
export const adaptive_isNearest: usize = offsetof<AdaptiveTerms>('isNearest');
export const adaptive_numLinkNodes: usize = offsetof<AdaptiveTerms>('numLinkNodes');
export const adaptive_ceilingLoads: usize = offsetof<AdaptiveTerms>('ceilingLoads');
export const adaptive_isBelow: usize = offsetof<AdaptiveTerms>('isBelow');
export const adaptive_pinned: usize = offsetof<AdaptiveTerms>('pinned');
export const adaptive_numPins: usize = offsetof<AdaptiveTerms>('numPins');
export const adaptive_mostCopies: usize = offsetof<AdaptiveTerms>('mostCopies');
export const adaptive_fixedShare: usize = offsetof<AdaptiveTerms>('fixedShare');
export const adaptive_fixedLoad: usize = offsetof<AdaptiveTerms>('fixedLoad');
export const adaptive_unit: usize = offsetof<AdaptiveTerms>('unit');
export const adaptive_elasticity: usize = offsetof<AdaptiveTerms>('elasticity');
export const adaptive_curve: usize = offsetof<AdaptiveTerms>('curve');
export const adaptive_tokens: usize = offsetof<AdaptiveTerms>('tokens');
export const adaptive_scratch: usize = offsetof<AdaptiveTerms>('scratch');
export const adaptive_steps: usize = offsetof<AdaptiveTerms>('steps');
export const adaptive_stride: usize = offsetof<AdaptiveTerms>('stride');
export const adaptive_numSingles: usize = offsetof<AdaptiveTerms>('numSingles');
export const adaptive_numSteps: usize = offsetof<AdaptiveTerms>('numSteps');
export const adaptive_stepLength: usize = offsetof<AdaptiveTerms>('stepLength');
export const adaptive_newestLength: usize = offsetof<AdaptiveTerms>('newestLength');
export const adaptive_totalLoad: usize = offsetof<AdaptiveTerms>('totalLoad');
export const adaptive_placement: usize = offsetof<AdaptiveTerms>('placement');
export const adaptive_slowest: usize = offsetof<AdaptiveTerms>('slowest');
export const adaptive_numSamples: usize = offsetof<AdaptiveTerms>('numSamples');
export const adaptive_isNoise: usize = offsetof<AdaptiveTerms>('isNoise');
export const adaptive_samples: usize = offsetof<AdaptiveTerms>('samples');
export const adaptive_spread: usize = offsetof<AdaptiveTerms>('spread');
export const adaptive_weights: usize = offsetof<AdaptiveTerms>('weights');
export const adaptive_mean: usize = offsetof<AdaptiveTerms>('mean');
export const adaptive_middle: usize = offsetof<AdaptiveTerms>('middle');
export const adaptive_likeness: usize = offsetof<AdaptiveTerms>('likeness');
export const adaptive_previous: usize = offsetof<AdaptiveTerms>('previous');
export const adaptive_fresh: usize = offsetof<AdaptiveTerms>('fresh');
export const adaptive_dealsCopies: usize = offsetof<AdaptiveTerms>('dealsCopies');
export const adaptive_isSharp: usize = offsetof<AdaptiveTerms>('isSharp');
export const adaptive_maxMoves: usize = offsetof<AdaptiveTerms>('maxMoves');
export const adaptive_maxVisits: usize = offsetof<AdaptiveTerms>('maxVisits');
export const adaptive_maxPasses: usize = offsetof<AdaptiveTerms>('maxPasses');
export const adaptive_maxIdle: usize = offsetof<AdaptiveTerms>('maxIdle');
export const adaptive_maxEvaluations: usize = offsetof<AdaptiveTerms>('maxEvaluations');
export const adaptive_numKicks: usize = offsetof<AdaptiveTerms>('numKicks');
export const adaptive_walkPatience: usize = offsetof<AdaptiveTerms>('walkPatience');
export const adaptive_cancelled: usize = offsetof<AdaptiveTerms>('cancelled');
export const adaptive_phyToLog: usize = offsetof<AdaptiveTerms>('phyToLog');
export const adaptive_replicaRank: usize = offsetof<AdaptiveTerms>('replicaRank');
export const adaptive_moves: usize = offsetof<AdaptiveTerms>('moves');
export const adaptive_visits: usize = offsetof<AdaptiveTerms>('visits');
export const adaptive_distance: usize = offsetof<AdaptiveTerms>('distance');
export const adaptive_numNewSteps: usize = offsetof<AdaptiveTerms>('numNewSteps');
export const adaptive_expected: usize = offsetof<AdaptiveTerms>('expected');
export const adaptive_firstNew: usize = offsetof<AdaptiveTerms>('firstNew');

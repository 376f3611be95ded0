// The samples that the adaptive policy plans for. They are themselves a sample of what comes: planned for as they are, a placement
// that is best for these steps is a chance find.
//
// Loads of one domain keep their mean: what steps differ in is mostly the chance of which tokens came. So the more steps, the better: on four
// recordings 64 steps in place of 16 bring 0.005 to 0.012 of balancedness on the steps that follow, and halve the moves; 128 bring no
// more. When the domain changes, old steps mislead. Runs of samples are compared with the newest run: apart by
// more than chance, they count less. Between three domains the squared distance is 25 to 90 times what chance makes it, within one mostly 0 to 3: no threshold
// has to be chosen, and factors of 0.5 to 4 on the distance are the same. Single layers tell it as well as all together.
//
// What steps are off the mean of their time is worth more than the mean: the mean alone loses 0.03 to 0.05, independent noise of the same
// variances 0.005 to 0.02. It tells which experts peak together, and does so even after a change of domain: so a run's
// deviations, about a centre of its own, count by the root of its likeness, 0.002 better than by the likeness or alike.
// Shrinking deviations by 0 to 0.15 is the same, and so are weights that fall with age, deviations mirrored, added in pairs, or scaled with
// their experts' means, and only their first principal directions. Fewer and bigger samples lose 0.01 (two steps each) and 0.02 (four), even
// with their deviations scaled up again. A search on three quarters of the samples that stops where the last quarter is best loses 0.006.

/** Runs this many times as far apart as chance makes them on average are alike: 1 to 3 are the same on recordings, few experts vary more. */
const CHANCE: f64 = 1.5;
/** Samples of a run: so many consecutive ones are taken to be of one kind. 8 is the same. */
const RUN: i32 = 4;
/** How much of its variance a copy's load counts as more: (norm - 1) / 2 is 3.5. None loses 0.001 to 0.003, 2 is the same. */
const SPREAD: f64 = 1;

/**
 * Scales each sample to a mean rank load of 1, moves it to where the newest loads are, shrinks it and stores it expert by expert. A
 * sample without load counts as equal loads.
 *
 * @param steps f32[numSteps * stride / 4]: the layer's loads of a sample are the first numExperts of its stride
 * @param stride bytes from one sample to the next
 * @param lengths f64[numSteps]: how many steps each sample is the mean of, above 0
 * @param shrink in [0, 1]: 1 makes all samples the mean
 * @param prior in [0, 1]: 1 makes the mean equal loads, and all experts vary alike
 * @param samples f32[numExperts * numSamples], out; numSamples is numSteps made a multiple of 4, with the last sample again
 * @param spread f32[numExperts], out: what a copy's load counts as more, as its chance variance does not even out with other copies':
 * half the expert's own variance, half what it would be in proportion to its mean
 * @param mean f64[numExperts], out
 * @param likeness f64[numSteps], out, their sum 1: what each sample tells of the loads to come
 * @param weights f32[numSamples], out, their sum 1: of the samples in the search; 0 for those that fill up
 * @param scratch f64[(numSamples / 4) * (numExperts + numSamples / 4 + 1)]
 */
export function prepareSamples(
  steps: usize,
  stride: usize,
  numSteps: i32,
  numExperts: i32,
  numRanks: i32,
  lengths: usize,
  shrink: f64,
  prior: f64,
  samples: usize,
  spread: usize,
  mean: usize,
  likeness: usize,
  weights: usize,
  scratch: usize,
): void {
  const numSamples = (numSteps + 3) & ~3;
  const numRuns = numSamples >> 2;
  const sizes = scratch;
  const alike = sizes + ((<usize>numRuns) << 3);
  const means = alike + ((<usize>(numRuns * numRuns)) << 3);
  scale(steps, stride, numSteps, numExperts, numRanks, samples);
  averageRuns(samples, numSteps, numExperts, lengths, sizes, means);
  const noise = noiseWithin(samples, numSteps, numExperts, lengths, means);
  compareRuns(numRuns, numExperts, noise, sizes, means, alike);
  weigh(numSteps, lengths, alike, likeness, weights);
  center(samples, numSteps, numExperts, sizes, means, alike, mean);
  const equal = <f64>numRanks / <f64>numExperts;
  const total = totalVariance(samples, numSteps, numExperts, weights);
  for (let e = 0; e < numExperts; e++) {
    const row = samples + ((<usize>(e * numSamples)) << 2);
    const at = mean + ((<usize>e) << 3);
    const own = varianceOf(row, numSteps, weights) * (1 - prior) + (prior * total) / <f64>numExperts;
    const middle = load<f64>(at) * (1 - prior) + prior * equal;
    store<f64>(at, middle);
    store<f32>(spread + ((<usize>e) << 2), <f32>(SPREAD * 0.5 * (own + (total / <f64>numRanks) * middle)));
    for (let t = 0; t < numSamples; t++) {
      const sample = row + ((<usize>t) << 2);
      store<f32>(sample, <f32>max(0, middle + (1 - shrink) * <f64>load<f32>(sample)));
    }
  }
}

/** Shares of the rank loads, expert by expert. */
function scale(
  steps: usize,
  stride: usize,
  numSteps: i32,
  numExperts: i32,
  numRanks: i32,
  samples: usize,
): void {
  const numSamples = (numSteps + 3) & ~3;
  for (let t = 0; t < numSamples; t++) {
    const step = steps + <usize>min(t, numSteps - 1) * stride;
    let total: f64 = 0;
    for (let e = 0; e < numExperts; e++) total += <f64>load<f32>(step + ((<usize>e) << 2));
    for (let e = 0; e < numExperts; e++) {
      const share = total > 0 ? <f64>load<f32>(step + ((<usize>e) << 2)) / total : 1 / <f64>numExperts;
      store<f32>(samples + ((<usize>(e * numSamples + t)) << 2), <f32>(share * <f64>numRanks));
    }
  }
}

/** The run of a sample: they are numbered from the newest on, and the oldest may be short. */
function runOf(sample: i32, numSteps: i32): i32 {
  return (numSteps - 1 - sample) / RUN;
}

/** The mean of each run f64[runs * experts], and how many steps it is of. */
function averageRuns(
  samples: usize,
  numSteps: i32,
  numExperts: i32,
  lengths: usize,
  sizes: usize,
  means: usize,
): void {
  const numSamples = (numSteps + 3) & ~3;
  const numRuns = numSamples >> 2;
  memory.fill(sizes, 0, (<usize>numRuns) << 3);
  memory.fill(means, 0, (<usize>(numRuns * numExperts)) << 3);
  for (let t = 0; t < numSteps; t++) {
    const run = runOf(t, numSteps);
    const length = load<f64>(lengths + ((<usize>t) << 3));
    const size = sizes + ((<usize>run) << 3);
    store<f64>(size, load<f64>(size) + length);
    for (let e = 0; e < numExperts; e++) {
      const sum = means + ((<usize>(run * numExperts + e)) << 3);
      const value = <f64>load<f32>(samples + ((<usize>(e * numSamples + t)) << 2));
      store<f64>(sum, load<f64>(sum) + length * value);
    }
  }
  for (let run = 0; run < numRuns; run++) {
    const size = load<f64>(sizes + ((<usize>run) << 3));
    for (let e = 0; e < numExperts; e++) {
      const sum = means + ((<usize>(run * numExperts + e)) << 3);
      store<f64>(sum, load<f64>(sum) / size);
    }
  }
}

/** The variance of one step within its run, added up over the experts; 0 when no run has two samples. */
function noiseWithin(samples: usize, numSteps: i32, numExperts: i32, lengths: usize, means: usize): f64 {
  const numSamples = (numSteps + 3) & ~3;
  const degrees = numSteps - (numSamples >> 2);
  if (degrees === 0) return 0;
  let sum: f64 = 0;
  for (let t = 0; t < numSteps; t++) {
    const run = runOf(t, numSteps);
    let squares: f64 = 0;
    for (let e = 0; e < numExperts; e++) {
      const value = <f64>load<f32>(samples + ((<usize>(e * numSamples + t)) << 2));
      const off = value - load<f64>(means + ((<usize>(run * numExperts + e)) << 3));
      squares += off * off;
    }
    sum += load<f64>(lengths + ((<usize>t) << 3)) * squares;
  }
  return sum / <f64>degrees;
}

/**
 * How much a step of run k tells of run j, f64[runs * runs] in [0, 1]: the variance of k's mean by its own noise, as a share of its whole
 * distance from j's true mean. So the best weights of estimates that are off by known amounts.
 */
function compareRuns(
  numRuns: i32,
  numExperts: i32,
  noise: f64,
  sizes: usize,
  means: usize,
  alike: usize,
): void {
  for (let j = 0; j < numRuns; j++) {
    const noiseOfJ = noise / load<f64>(sizes + ((<usize>j) << 3));
    store<f64>(alike + ((<usize>(j * numRuns + j)) << 3), 1);
    for (let k = 0; k < j; k++) {
      const noiseOfK = noise / load<f64>(sizes + ((<usize>k) << 3));
      let distance: f64 = 0;
      for (let e = 0; e < numExperts; e++) {
        const inJ = load<f64>(means + ((<usize>(j * numExperts + e)) << 3));
        const off = inJ - load<f64>(means + ((<usize>(k * numExperts + e)) << 3));
        distance += off * off;
      }
      distance -= CHANCE * (noiseOfJ + noiseOfK);
      store<f64>(
        alike + ((<usize>(j * numRuns + k)) << 3),
        distance > 0 ? noiseOfK / (noiseOfK + distance) : 1,
      );
      store<f64>(
        alike + ((<usize>(k * numRuns + j)) << 3),
        distance > 0 ? noiseOfJ / (noiseOfJ + distance) : 1,
      );
    }
  }
}

/** By how much each sample's run is like the newest. */
function weigh(numSteps: i32, lengths: usize, alike: usize, likeness: usize, weights: usize): void {
  const numSamples = (numSteps + 3) & ~3;
  let sum: f64 = 0;
  let sumOfRoots: f64 = 0;
  for (let t = 0; t < numSteps; t++) {
    const length = load<f64>(lengths + ((<usize>t) << 3));
    const share = load<f64>(alike + ((<usize>runOf(t, numSteps)) << 3));
    sum += length * share;
    sumOfRoots += length * Math.sqrt(share);
  }
  for (let t = 0; t < numSamples; t++) {
    const weight = weights + ((<usize>t) << 2);
    store<f32>(weight, 0);
    if (t >= numSteps) continue;
    const length = load<f64>(lengths + ((<usize>t) << 3));
    const share = load<f64>(alike + ((<usize>runOf(t, numSteps)) << 3));
    store<f64>(likeness + ((<usize>t) << 3), (length * share) / sum);
    store<f32>(weight, <f32>((length * Math.sqrt(share)) / sumOfRoots));
  }
}

/** Takes from each sample the mean of the runs that its own run is like. That of the newest is the mean to plan for. */
function center(
  samples: usize,
  numSteps: i32,
  numExperts: i32,
  sizes: usize,
  means: usize,
  alike: usize,
  mean: usize,
): void {
  const numSamples = (numSteps + 3) & ~3;
  const numRuns = numSamples >> 2;
  for (let run = numRuns - 1; run >= 0; run--) {
    // Samples from `first` to before `end`; those that fill up go with the newest.
    const end = run === 0 ? numSamples : numSteps - run * RUN;
    const first = max(numSteps - (run + 1) * RUN, 0);
    let size: f64 = 0;
    for (let k = 0; k < numRuns; k++) {
      size += load<f64>(alike + ((<usize>(run * numRuns + k)) << 3)) * load<f64>(sizes + ((<usize>k) << 3));
    }
    for (let e = 0; e < numExperts; e++) {
      let sum: f64 = 0;
      for (let k = 0; k < numRuns; k++) {
        const share =
          load<f64>(alike + ((<usize>(run * numRuns + k)) << 3)) * load<f64>(sizes + ((<usize>k) << 3));
        sum += share * load<f64>(means + ((<usize>(k * numExperts + e)) << 3));
      }
      store<f64>(mean + ((<usize>e) << 3), sum / size);
      for (let t = first; t < end; t++) {
        const sample = samples + ((<usize>(e * numSamples + t)) << 2);
        store<f32>(sample, <f32>(<f64>load<f32>(sample) - sum / size));
      }
    }
  }
}

/** The variances of all experts, added up. */
function totalVariance(samples: usize, numSteps: i32, numExperts: i32, weights: usize): f64 {
  const rowBytes = (<usize>((numSteps + 3) & ~3)) << 2;
  let sum: f64 = 0;
  for (let e = 0; e < numExperts; e++) sum += varianceOf(samples + <usize>e * rowBytes, numSteps, weights);
  return sum;
}

/** Of deviations; 0 for a single one. */
function varianceOf(row: usize, numSteps: i32, weights: usize): f64 {
  if (numSteps < 2) return 0;
  let sum: f64 = 0;
  for (let t = 0; t < numSteps; t++) {
    const off = <f64>load<f32>(row + ((<usize>t) << 2));
    sum += <f64>load<f32>(weights + ((<usize>t) << 2)) * off * off;
  }
  return (sum * <f64>numSteps) / <f64>(numSteps - 1);
}

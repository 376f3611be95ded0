// From physical to logical: the load of an expert is the sum over its slots. A sample is folded through the
// mapping it was recorded under, whatever the mapping is by now.

/**
 * sums[phyToLog[slot]] += sign * sample[slot], in slot order. Empty slots (-1) are passed over.
 *
 * @param sample f32[numPhysical]
 * @param phyToLog i32[numPhysical], the mapping the sample was recorded under
 * @param sign 1 to add a sample, -1 to take it back
 * @param sums f64[numLogical], in and out
 */
export function foldSample(sample: usize, phyToLog: usize, numPhysical: i32, sign: f64, sums: usize): void {
  const end = (<usize>numPhysical) << 2;
  for (let at: usize = 0; at < end; at += 4) {
    const expert = load<i32>(phyToLog + at);
    if (expert < 0) continue;
    const sum = sums + ((<usize>expert) << 3);
    store<f64>(sum, load<f64>(sum) + sign * <f64>load<f32>(sample + at));
  }
}

/**
 * The loads of experts in one sample, each at most the largest float32.
 *
 * @param sample f32[numPhysical]
 * @param phyToLog i32[numPhysical], the mapping the sample was recorded under
 * @param loads f32[numLogical], out
 */
export function foldLoads(
  sample: usize,
  phyToLog: usize,
  numPhysical: i32,
  loads: usize,
  numLogical: i32,
): void {
  memory.fill(loads, 0, (<usize>numLogical) << 2);
  const end = (<usize>numPhysical) << 2;
  for (let at: usize = 0; at < end; at += 4) {
    const expert = load<i32>(phyToLog + at);
    if (expert < 0) continue;
    const to = loads + ((<usize>expert) << 2);
    store<f32>(to, load<f32>(to) + load<f32>(sample + at));
  }
  // What is more has become infinite. Four at a time, which a loop with a `min` in it could not.
  const greatest = f32x4.splat(f32.MAX_VALUE);
  const vectorEnd = numLogical & ~3;
  let i = 0;
  for (; i < vectorEnd; i += 4) {
    const at = loads + ((<usize>i) << 2);
    v128.store(at, f32x4.pmin(v128.load(at), greatest));
  }
  for (; i < numLogical; i++) {
    const at = loads + ((<usize>i) << 2);
    store<f32>(at, min(load<f32>(at), f32.MAX_VALUE));
  }
}

/** As foldSample with sign 1, for sums that are float64 already. */
export function foldSums(physicalSums: usize, phyToLog: usize, numPhysical: i32, sums: usize): void {
  for (let slot = 0; slot < numPhysical; slot++) {
    const expert = load<i32>(phyToLog + ((<usize>slot) << 2));
    if (expert < 0) continue;
    const sum = sums + ((<usize>expert) << 3);
    store<f64>(sum, load<f64>(sum) + load<f64>(physicalSums + ((<usize>slot) << 3)));
  }
}

/**
 * The average logical load of the window: (logicalSums + fold(physicalSums)) / numSamples, from 0 to the
 * largest float32.
 *
 * @param physicalSums f64[numPhysical], samples of the mapping `phyToLog`
 * @param logicalSums f64[numLogical], samples of other mappings, folded when they were known
 * @param out f32[numLogical], out
 * @param acc f64[numLogical]: {@link averageLoadsScratchBytes}
 */
export function averageLoads(
  physicalSums: usize,
  phyToLog: usize,
  numPhysical: i32,
  logicalSums: usize,
  numLogical: i32,
  numSamples: i32,
  out: usize,
  acc: usize,
): void {
  memory.copy(acc, logicalSums, (<usize>numLogical) << 3);
  foldSums(physicalSums, phyToLog, numPhysical, acc);
  const samples = <f64>numSamples;
  for (let expert = 0; expert < numLogical; expert++) {
    const sum = load<f64>(acc + ((<usize>expert) << 3));
    store<f32>(out + ((<usize>expert) << 2), <f32>min(max(sum, 0) / samples, <f64>f32.MAX_VALUE));
  }
}

/**
 * The average load of each slot as the mapping `phyToLog` reads the window: what its own samples recorded,
 * plus an even share of what samples of other mappings recorded for the slot's expert.
 *
 * @param physicalSums f64[numPhysical], samples of this mapping
 * @param count i32[numLogical], replicas
 * @param logicalSums f64[numLogical], samples of other mappings, folded when they were known
 * @param out f32[numPhysical], out
 */
export function averageSlots(
  physicalSums: usize,
  phyToLog: usize,
  count: usize,
  numPhysical: i32,
  logicalSums: usize,
  numSamples: i32,
  out: usize,
): void {
  const samples = f64x2.splat(<f64>numSamples);
  const greatest = f64x2.splat(<f64>f32.MAX_VALUE);
  let slot = 0;
  // Two slots at a time: a division takes as long for two as for one.
  for (; slot + 1 < numPhysical; slot += 2) {
    const sums = f64x2.replace_lane(
      f64x2.splat(slotSum(physicalSums, phyToLog, count, logicalSums, slot)),
      1,
      slotSum(physicalSums, phyToLog, count, logicalSums, slot + 1),
    );
    const averages = f64x2.pmin(greatest, f64x2.div(f64x2.pmax(f64x2.splat(0), sums), samples));
    store<f32>(out + ((<usize>slot) << 2), <f32>f64x2.extract_lane(averages, 0));
    store<f32>(out + ((<usize>slot) << 2), <f32>f64x2.extract_lane(averages, 1), 4);
  }
  if (slot < numPhysical) {
    const sum = slotSum(physicalSums, phyToLog, count, logicalSums, slot);
    const average = <f32>min(max(sum, 0) / <f64>numSamples, <f64>f32.MAX_VALUE);
    store<f32>(out + ((<usize>slot) << 2), average);
  }
}

/** The sum over the window of one slot; an empty slot has none. */
function slotSum(physicalSums: usize, phyToLog: usize, count: usize, logicalSums: usize, slot: i32): f64 {
  const at = (<usize>slot) << 2;
  const expert = load<i32>(phyToLog + at);
  if (expert < 0) return 0;
  const logical = load<f64>(logicalSums + ((<usize>expert) << 3));
  const physical = load<f64>(physicalSums + 2 * at);
  // Mostly nothing was recorded under other mappings, and no division is needed.
  if (logical === 0) return physical;
  return physical + logical / <f64>load<i32>(count + ((<usize>expert) << 2));
}

/** Scratch of {@link averageLoads}. */
export function averageLoadsScratchBytes(numLogical: i32): f64 {
  return 8 * <f64>numLogical;
}

/** The largest float32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/**
 * Adds `sign` times each slot's load to the sum of the slot's expert, slots in index order; -1 marks an empty
 * slot.
 */
export function foldSample(
  sample: readonly number[],
  phyToLog: readonly number[],
  sign: number,
  sums: readonly number[],
): number[] {
  const result = [...sums];
  for (let slot = 0; slot < sample.length; slot++) {
    const expert = phyToLog[slot]!;
    if (expert !== -1) result[expert] = result[expert]! + sign * sample[slot]!;
  }
  return result;
}

/** Loads of experts, each rounded with every slot that is added, and at most the largest float32. */
export function foldLoads(
  sample: readonly number[],
  phyToLog: readonly number[],
  numLogical: number,
): number[] {
  const loads = new Array<number>(numLogical).fill(0);
  phyToLog.forEach((expert, slot) => {
    if (expert !== -1) loads[expert] = Math.min(Math.fround(loads[expert]! + sample[slot]!), LARGEST);
  });
  return loads;
}

/** From 0 to the largest float32, whatever was added up. */
function average(sum: number, numSamples: number): number {
  return Math.fround(Math.min(Math.max(0, sum) / numSamples, LARGEST));
}

/** Average load of each expert: what was recorded by expert plus what was recorded by slot, never below 0. */
export function averageLoads(
  physicalSums: readonly number[],
  phyToLog: readonly number[],
  logicalSums: readonly number[],
  numSamples: number,
): number[] {
  const totals = foldSample(physicalSums, phyToLog, 1, logicalSums);
  return totals.map((total) => average(total, numSamples));
}

/**
 * Average load of each slot: what it recorded itself, and its even share of what was recorded for its expert.
 */
export function averageSlots(
  physicalSums: readonly number[],
  phyToLog: readonly number[],
  count: readonly number[],
  logicalSums: readonly number[],
  numSamples: number,
): number[] {
  return phyToLog.map((expert, slot) => {
    const sum = expert === -1 ? 0 : physicalSums[slot]! + logicalSums[expert]! / count[expert]!;
    return average(sum, numSamples);
  });
}

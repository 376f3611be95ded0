/**
 * Of each rank, the slots up to its last expert in any layer: which are open where nobody says it.
 *
 * @param phyToLog `[layers x physical]`
 * @param stride slots of a rank in the table
 */
export function reachedSlots(phyToLog: Int32Array, stride: number, numRanks: number): number[] {
  const reached = new Array<number>(numRanks).fill(0);
  for (let first = 0, rank = 0; first < phyToLog.length; first += stride, rank = (rank + 1) % numRanks) {
    for (let slot = stride; slot > reached[rank]!; slot--) {
      if (phyToLog[first + slot - 1]! >= 0) reached[rank] = slot;
    }
  }
  return reached;
}

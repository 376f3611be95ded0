/** What a plan on top of a repair is measured by: slots of all layers, `[layers x physical]` each. */
export interface RepairedSlots {
  /** What live ranks still had. */
  readonly survivors: Int32Array;
  /** The same with experts from the host. */
  readonly repaired: Int32Array;
  readonly stride: number;
}

/** Experts that a rank still had, and has again, go back to the slots that they were in. */
export function keepSurvivorsInPlace(slots: Int32Array, { survivors, stride }: RepairedSlots): void {
  for (let start = 0; start < slots.length; start += stride) {
    for (let at = start; at < start + stride; at++) {
      const expert = survivors[at]!;
      if (expert < 0 || slots[at] === expert) continue;
      for (let from = start; from < start + stride; from++) {
        if (slots[from] !== expert || survivors[from] === expert) continue;
        slots[from] = slots[at]!;
        slots[at] = expert;
        break;
      }
    }
  }
}

/**
 * Takes back so many moves, the last ones first: a plan fills empty slots and those of second copies on a
 * rank however many moves it may make.
 *
 * @returns how many it could not take back
 */
export function takeBackMoves(
  slots: Int32Array,
  numMoves: number,
  numLayers: number,
  { survivors, repaired, stride }: RepairedSlots,
): number {
  const width = slots.length / numLayers;
  let left = numMoves;
  for (let layer = numLayers - 1; layer >= 0 && left > 0; layer--) {
    const first = layer * width;
    const copies = new Map<number, number>();
    for (const expert of slots.subarray(first, first + width))
      copies.set(expert, (copies.get(expert) ?? 0) + 1);
    for (let at = first + width - 1; at >= first && left > 0; at--) {
      const expert = slots[at]!;
      const before = repaired[at]!;
      const start = at - (at % stride);
      const isMove = expert >= 0 && !survivors.subarray(start, start + stride).includes(expert);
      if (!isMove || before !== survivors[at] || copies.get(expert)! < 2) continue;
      slots[at] = before;
      copies.set(expert, copies.get(expert)! - 1);
      left--;
    }
  }
  return left;
}

// Steps of few slots. They change much of all loads, of which the tangent tells too little: so each is tried
// at its true cost. With more slots nothing is left to find this way.

import { isDone, isOver, ROUNDING } from './bounds';
import { exchange, mayExchange, mayOverwrite, overwrite } from './changes';
import { pricedValue } from './descent';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, expertAt } from './state';

const FEW_SLOTS: i32 = 16;

export function hasFewSlots(s: Adaptive): bool {
  return s.numSlots <= FEW_SLOTS;
}

/** Takes every step that gains, until none does. Returns whether there was one. */
export function polish(s: Adaptive): bool {
  const start = pricedValue(s);
  let value = start;
  let isBetter = true;
  while (isBetter && !isDone(s)) {
    isBetter = false;
    for (let slot = 0; slot < s.numSlots && !isOver(s); slot++) {
      for (let other = slot + 1; other < s.numSlots; other++) {
        if (!mayExchange(s, slot, other)) continue;
        exchange(s, slot, other);
        const now = valueWithin(s);
        if (now < value - ROUNDING) {
          value = now;
          isBetter = true;
        } else exchange(s, slot, other);
      }
      for (let expert = 0; expert < s.numExperts; expert++) {
        if (!mayOverwrite(s, slot, expert)) continue;
        const old = expertAt(s, slot);
        overwrite(s, slot, expert);
        const now = valueWithin(s);
        if (now < value - ROUNDING) {
          value = now;
          isBetter = true;
        } else overwrite(s, slot, old);
      }
    }
  }
  return value < start;
}

function valueWithin(s: Adaptive): f64 {
  s.evaluations++;
  return s.moves > s.maxMoves ? Infinity : pricedValue(s);
}

// What links may save by the steps of a rank, for all ranks that it looks at.

import { spend } from './bounds';
import { nodeOf, savedAbout, savedByComing, savedByGoing } from './links';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, expertAt, firstOf, float32At, setBound } from './state';
import { indexOfMost } from './vectors';

/**
 * Less is the least that exchanges of rank a can cost by what they may save on links. Only the few nodes that
 * may save most are looked at.
 */
export function boundLinks(s: Adaptive, a: i32, first: i32, end: i32): void {
  const node = nodeOf(s, a);
  chooseNodes(s, a, node);
  spend(s, 1 + (s.numSlots >> 4));
  for (let b = first; b < end; b++) {
    const from = nodeOf(s, b);
    if (from === node) continue;
    const saved = float32At(s.savedTo, from);
    if (saved === -Infinity) {
      setBound(s, b, Infinity);
      continue;
    }
    let most: f32 = -Infinity;
    for (let slot = firstOf(s, b), last = firstOf(s, b + 1); slot < last; slot++)
      most = max(most, savedAbout(s, expertAt(s, slot), from, node));
    setBound(s, b, float32At(s.bound, b) - saved - most);
  }
}

/** Finds the most that any expert of the rank saves on each node; of all but a few nodes it is forgotten. */
function chooseNodes(s: Adaptive, rank: i32, own: i32): void {
  const numNodes = s.terms.numLinkNodes;
  for (let to = 0; to < numNodes; to++) {
    let most: f32 = -Infinity;
    for (let slot = firstOf(s, rank), end = firstOf(s, rank + 1); to !== own && slot < end; slot++)
      most = max(most, savedAbout(s, expertAt(s, slot), own, to));
    store<f32>(s.savedAll + ((<usize>to) << 2), most);
    store<f32>(s.savedTo + ((<usize>to) << 2), -Infinity);
  }
  for (let n = s.mostNodes; n > 0; n--) {
    const to = indexOfMost(s.savedAll, numNodes);
    if (float32At(s.savedAll, to) === -Infinity) return;
    store<f32>(s.savedAll + ((<usize>to) << 2), -Infinity);
    rateGoing(s, rank, own, to);
  }
}

/** What it saves that each expert of the rank goes to a node. */
function rateGoing(s: Adaptive, rank: i32, own: i32, to: i32): void {
  const first = firstOf(s, rank);
  const size = firstOf(s, rank + 1) - first;
  const row = s.savedGoing + ((<usize>(to * s.stride)) << 2);
  let most: f32 = -Infinity;
  for (let k = 0; k < size; k++) {
    const saved = savedByGoing(s, expertAt(s, first + k), own, to);
    store<f32>(row + ((<usize>k) << 2), saved);
    most = max(most, saved);
  }
  store<f32>(s.savedTo + ((<usize>to) << 2), most);
}

/** What a further copy of an expert saves on each rank. */
export function rateLinks(s: Adaptive, expert: i32): void {
  for (let rank = 0; rank < s.numRanks; rank++)
    store<f32>(s.savedOn + ((<usize>rank) << 2), savedByComing(s, expert, nodeOf(s, rank)));
}

// The links between nodes in the search's objective: how much experts that are picked together share nodes.
// A pair's first shared node counts in full, the second one a quarter, the third one a sixteenth, as tokens
// find both experts there more easily. Pairs are whole numbers, so that sums are exact in any order: what is
// adjusted from step to step equals a fresh count.
//
// Where tokens take the nearest copy, no pairs count: what an expert is worth on a node is what its tokens
// from there are, and never changes.

import { spend } from './bounds';
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adaptive, at32, expertAt, rankOf } from './state';

/** Whether links count at all. */
export function hasLinks(s: Adaptive): bool {
  return s.pairs !== 0;
}

/** What one more shared node is worth to a pair that shares so many already. */
function worth(shared: i32): f32 {
  if (shared === 0) return 1;
  return shared === 1 ? 0.25 : shared === 2 ? 0.0625 : 0;
}

/** What so many shared nodes are worth together. */
function worthOfAll(shared: i32): f32 {
  if (shared === 0) return 0;
  return shared === 1 ? 1 : shared === 2 ? 1.25 : 1.3125;
}

export function nodeOf(s: Adaptive, rank: i32): i32 {
  return at32(s.terms.nodeOfRank, rank);
}

/** The nodes that have the expert, a bit each. */
function nodesOf(s: Adaptive, expert: i32): u64 {
  return load<u64>(s.nodeSet + ((<usize>expert) << 3));
}

function pairOf(s: Adaptive, a: i32, b: i32): f32 {
  return load<f32>(s.pairs + <usize>a * s.pairBytes + ((<usize>b) << 2));
}

/** What it is worth that the expert is on the node, be it there or not. */
function valueAt(s: Adaptive, node: i32, expert: i32): usize {
  return s.linkValue + <usize>node * s.pairBytes + ((<usize>expert) << 2);
}

function valueOn(s: Adaptive, node: i32, expert: i32): f32 {
  return load<f32>(valueAt(s, node, expert));
}

function copiesAt(s: Adaptive, node: i32, expert: i32): usize {
  return s.onNode + ((<usize>(node * s.numExperts + expert)) << 1);
}

/** u64[words]: the experts on a node, a bit each; behind those of all nodes the experts on several. */
function setOf(s: Adaptive, node: i32): usize {
  return s.nodeExperts + <usize>node * s.setBytes;
}

/** Before the first placement: no expert is anywhere. */
export function startLinks(s: Adaptive): void {
  if (!hasLinks(s)) return;
  const nodes = <usize>s.terms.numLinkNodes;
  if (s.isNearest) memory.copy(s.linkValue, s.pairs, nodes * s.pairBytes);
  else memory.fill(s.linkValue, 0, nodes * s.pairBytes);
  memory.fill(s.nodeSet, 0, (<usize>s.numExperts) << 3);
  memory.fill(s.onNode, 0, (nodes * <usize>s.numExperts) << 1);
  memory.fill(s.nodeExperts, 0, (nodes + 1) * s.setBytes);
  s.together = 0;
  memory.fill(s.firstRank, 0xff, nodes << 2);
  for (let rank = s.numRanks - 1; rank >= 0; rank--) {
    const first = s.firstRank + ((<usize>nodeOf(s, rank)) << 2);
    store<i32>(s.nextRank + ((<usize>rank) << 2), load<i32>(first));
    store<i32>(first, rank);
  }
}

/** Follows what the slots have become: only what is on other nodes than before is adjusted. */
export function followSlots(s: Adaptive): void {
  const numNodes = s.terms.numLinkNodes;
  spend(s, 1 + ((numNodes * s.numExperts) >> 6) + (s.numSlots >> 3));
  memory.fill(s.onNode, 0, (<usize>(numNodes * s.numExperts)) << 1);
  for (let slot = 0; slot < s.numSlots; slot++) {
    const at = copiesAt(s, nodeOf(s, rankOf(s, slot)), expertAt(s, slot));
    store<u16>(at, load<u16>(at) + 1);
  }
  for (let node = 0; node < numNodes; node++) {
    for (let expert = 0; expert < s.numExperts; expert++) {
      const isThere = load<u16>(copiesAt(s, node, expert)) !== 0;
      if (isThere !== isOnNode(s, node, expert)) turn(s, node, expert, isThere);
    }
  }
}

function isOnNode(s: Adaptive, node: i32, expert: i32): bool {
  return ((nodesOf(s, expert) >> node) & 1) !== 0;
}

/** A copy of the expert comes to a node. */
export function enterNode(s: Adaptive, node: i32, expert: i32): void {
  const at = copiesAt(s, node, expert);
  const copies = load<u16>(at);
  store<u16>(at, copies + 1);
  if (copies === 0) turn(s, node, expert, true);
}

/** And leaves one. */
export function leaveNode(s: Adaptive, node: i32, expert: i32): void {
  const at = copiesAt(s, node, expert);
  const copies = load<u16>(at) - 1;
  store<u16>(at, copies);
  if (s.isWalking) forbid(s, node, expert);
  if (copies === 0) turn(s, node, expert, false);
}

/** The expert is on a node that it was not on, or is no longer: adjusts what experts are worth on nodes. */
function turn(s: Adaptive, node: i32, expert: i32, isThere: bool): void {
  const sign: f32 = isThere ? 1 : -1;
  const bit = (<u64>1) << node;
  const others = nodesOf(s, expert) & ~bit;
  s.together += <f64>(sign * valueOn(s, node, expert));
  if (!s.isNearest) {
    addPairs(s, node, expert, sign);
    if (others !== 0) lessenPairs(s, node, expert, others, sign);
    adjustShared(s, node, expert, others, sign);
  }
  setNodes(s, node, expert, others, isThere);
  forgetBases(s, node);
  spend(s, 1 + (s.numExperts >> 6));
}

/**
 * What it costs to take experts out of the node's slots is otherwise now. On other nodes it is so too for the
 * few that share several with this one: there it is not quite right until it is made anew.
 */
function forgetBases(s: Adaptive, node: i32): void {
  for (let rank = at32(s.firstRank, node); rank >= 0; rank = at32(s.nextRank, rank))
    store<u8>(s.knownBase + <usize>rank, 0);
}

/** What the other experts are worth on the node, as if they shared no other with this one. */
function addPairs(s: Adaptive, node: i32, expert: i32, sign: f32): void {
  const signs = f32x4.splat(sign);
  let to = valueAt(s, node, 0);
  let from = s.pairs + <usize>expert * s.pairBytes;
  for (const end = from + s.pairBytes; from < end; from += 16, to += 16) {
    v128.store(to, f32x4.add(v128.load(to), f32x4.mul(signs, v128.load(from))));
  }
}

/** Less is what they are worth to those that share other nodes with it. */
function lessenPairs(s: Adaptive, node: i32, expert: i32, others: u64, sign: f32): void {
  for (let word: usize = 0; word < s.setBytes; word += 8) {
    let set: u64 = 0;
    for (let left = others; left !== 0; left &= left - 1) set |= load<u64>(setOf(s, <i32>ctz(left)) + word);
    for (; set !== 0; set &= set - 1) {
      const other = <i32>(word << 3) + <i32>ctz(set);
      const pair = pairOf(s, expert, other);
      if (pair === 0) continue;
      const at = valueAt(s, node, other);
      const shared = <i32>popcnt(others & nodesOf(s, other));
      store<f32>(at, load<f32>(at) + sign * pair * (worth(shared) - 1));
    }
  }
}

/** Pairs with experts on the node share one node more, or less: on their other nodes they are worth less. */
function adjustShared(s: Adaptive, node: i32, expert: i32, others: u64, sign: f32): void {
  const set = setOf(s, node);
  const several = setOf(s, s.terms.numLinkNodes);
  for (let word: usize = 0; word < s.setBytes; word += 8) {
    let left = load<u64>(set + word);
    // An expert on one node shares no other with an expert that is on none.
    if (others === 0) left &= load<u64>(several + word);
    for (; left !== 0; left &= left - 1) {
      const other = <i32>(word << 3) + <i32>ctz(left);
      const pair = sign * pairOf(s, expert, other);
      if (pair !== 0) adjustPair(s, node, expert, other, others, pair);
    }
  }
}

function adjustPair(s: Adaptive, node: i32, expert: i32, other: i32, others: u64, pair: f32): void {
  const theirs = nodesOf(s, other) & ~((<u64>1) << node);
  const shared = <i32>popcnt(others & theirs);
  for (let left = others; left !== 0; left &= left - 1) {
    const at = <i32>ctz(left);
    addValue(s, at, other, pair * growth(shared, <i32>((theirs >> at) & 1)));
  }
  for (let left = theirs; left !== 0; left &= left - 1) {
    const at = <i32>ctz(left);
    addValue(s, at, expert, pair * growth(shared, <i32>((others >> at) & 1)));
  }
}

/** How much more a node is worth to a pair that shares one more; it may be one of those it shares. */
function growth(shared: i32, isShared: i32): f32 {
  return worth(shared + 1 - isShared) - worth(shared - isShared);
}

function addValue(s: Adaptive, node: i32, expert: i32, value: f32): void {
  const at = valueAt(s, node, expert);
  store<f32>(at, load<f32>(at) + value);
}

function setNodes(s: Adaptive, node: i32, expert: i32, others: u64, isThere: bool): void {
  const nodes = isThere ? others | ((<u64>1) << node) : others;
  store<u64>(s.nodeSet + ((<usize>expert) << 3), nodes);
  setBit(setOf(s, node), expert, isThere);
  setBit(setOf(s, s.terms.numLinkNodes), expert, popcnt(nodes) > 1);
}

function setBit(set: usize, expert: i32, isSet: bool): void {
  const at = set + ((<usize>(expert >> 6)) << 3);
  const bit = (<u64>1) << (expert & 63);
  store<u64>(at, isSet ? load<u64>(at) | bit : load<u64>(at) & ~bit);
}

/** Whether a walk, which is under way, may not bring the expert to the node yet. */
export function isTabu(s: Adaptive, node: i32, expert: i32): bool {
  return at32(s.tabu, node * s.numExperts + expert) > s.step;
}

function forbid(s: Adaptive, node: i32, expert: i32): void {
  store<i32>(s.tabu + ((<usize>(node * s.numExperts + expert)) << 2), s.tenure);
}

/** Whether the expert has no other copy on the node. */
function isLastOn(s: Adaptive, node: i32, expert: i32): bool {
  return load<u16>(copiesAt(s, node, expert)) === 1;
}

/** What is gained where a copy of the expert goes from a node that has one to another node. */
function gainOfGoing(s: Adaptive, expert: i32, from: i32, to: i32): f32 {
  const comes = !isOnNode(s, to, expert);
  let gain: f32 = comes ? valueOn(s, to, expert) : 0;
  if (!isLastOn(s, from, expert)) return gain;
  gain -= valueOn(s, from, expert);
  return comes && !s.isNearest ? gain + keptOf(s, expert, from, to) : gain;
}

/** What an expert shares with those on both nodes it loses on the one, and has again on the other. */
function keptOf(s: Adaptive, expert: i32, from: i32, to: i32): f32 {
  const setFrom = setOf(s, from);
  const setTo = setOf(s, to);
  const mine = nodesOf(s, expert);
  let kept: f32 = 0;
  for (let word: usize = 0; word < s.setBytes; word += 8) {
    for (let left = load<u64>(setFrom + word) & load<u64>(setTo + word); left !== 0; left &= left - 1) {
      const other = <i32>(word << 3) + <i32>ctz(left);
      const shared = <i32>popcnt(mine & nodesOf(s, other));
      kept += pairOf(s, expert, other) * (worth(shared - 1) - worth(shared));
    }
  }
  return kept;
}

/** What is saved, at the links' price, where a copy goes from one rank's node to another rank's. */
export function savedByGoing(s: Adaptive, expert: i32, nodeA: i32, nodeB: i32): f32 {
  return nodeA === nodeB ? 0 : s.linkPrice * gainOfGoing(s, expert, nodeA, nodeB);
}

/** The same without what it has again: less than that in few cases, and quick. */
export function savedAbout(s: Adaptive, expert: i32, nodeA: i32, nodeB: i32): f32 {
  let gain: f32 = isOnNode(s, nodeB, expert) ? 0 : valueOn(s, nodeB, expert);
  if (isLastOn(s, nodeA, expert)) gain -= valueOn(s, nodeA, expert);
  return s.linkPrice * gain;
}

/** What is lost, at the links' price, where a copy leaves a node and comes nowhere. */
export function lostByLeaving(s: Adaptive, expert: i32, node: i32): f32 {
  return isLastOn(s, node, expert) ? s.linkPrice * valueOn(s, node, expert) : 0;
}

/** And what is saved where one comes to a node. */
export function savedByComing(s: Adaptive, expert: i32, node: i32): f32 {
  return isOnNode(s, node, expert) ? 0 : s.linkPrice * valueOn(s, node, expert);
}

/** The most that one more copy of an expert saves on any node. */
export function mostSavedByComing(s: Adaptive, expert: i32): f32 {
  let most: f32 = 0;
  for (let node = 0; node < s.terms.numLinkNodes; node++) most = max(most, savedByComing(s, expert, node));
  return most;
}

/** What an exchange of expert i of node a and expert j of node b saves. */
export function savedByExchange(s: Adaptive, a: i32, i: i32, b: i32, j: i32): f64 {
  if (a === b) return 0;
  const gain = gainOfGoing(s, i, a, b) + gainOfGoing(s, j, b, a);
  return <f64>(s.linkPrice * (gain + together(s, i, going(s, i, a, b), j, going(s, j, b, a))));
}

/** What it saves to put expert j in the place of a copy of expert i on a node. */
export function savedByOverwrite(s: Adaptive, node: i32, i: i32, j: i32): f64 {
  const bit = (<u64>1) << node;
  const nodesI = isLastOn(s, node, i) ? nodesOf(s, i) & ~bit : nodesOf(s, i);
  const lost = lostByLeaving(s, i, node);
  const saved = savedByComing(s, j, node);
  return <f64>(saved - lost + s.linkPrice * together(s, i, nodesI, j, nodesOf(s, j) | bit));
}

/** The nodes of an expert once a copy went from a node to another. */
function going(s: Adaptive, expert: i32, from: i32, to: i32): u64 {
  const nodes = nodesOf(s, expert);
  return (isLastOn(s, from, expert) ? nodes & ~((<u64>1) << from) : nodes) | ((<u64>1) << to);
}

/** What two experts gain by both changing nodes, beyond what each gains alone. */
function together(s: Adaptive, i: i32, newI: u64, j: i32, newJ: u64): f32 {
  const pair: f32 = s.isNearest ? 0 : pairOf(s, i, j);
  if (pair === 0) return 0;
  const oldI = nodesOf(s, i);
  const oldJ = nodesOf(s, j);
  const both = worthOfAll(<i32>popcnt(newI & newJ)) + worthOfAll(<i32>popcnt(oldI & oldJ));
  return pair * (both - worthOfAll(<i32>popcnt(newI & oldJ)) - worthOfAll(<i32>popcnt(oldI & newJ)));
}

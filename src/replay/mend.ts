import { emptyClosedSlots } from '../core/open-slots.ts';
import type { Topology } from '../core/topology.ts';
import { ExpertMapping, repair } from '../index.ts';
import { MoveCounter } from '../mapping/move-counter.ts';
import type { ReplayCost } from './configuration.ts';
import { type LayerTransfers, layerTransfers } from './transfers.ts';

/** What bringing a layer's slots to a mended placement needs. */
interface LayerMend extends LayerTransfers {
  /** Slots whose expert no live rank has: their weights come from the host. */
  readonly hostLoads: number;
}

/** What ranks that died took with them. */
export interface LostExperts {
  /** Experts of layers without a copy left. */
  readonly count: number;
  /** Their share of the load. */
  readonly loadShare: number;
}

/**
 * A placement, repaired for the ranks that are dead: experts that lost their last copy take the slots of
 * copies that can be spared.
 *
 * @param slots [layers x physical]
 * @param loads [layers x logical], to go by
 * @throws EplbRangeError `EPLB_TOPOLOGY` with too few slots
 */
export function mended(slots: Int32Array, topology: Topology, loads: Float32Array): Int32Array {
  const { numLayers, numLogicalExperts, numRanks, numNodes } = topology;
  const { nodeOfRank, rankSpeed, deadRanks, slotsPerRank, rules } = topology;
  if (deadRanks === undefined) return slots;
  const mapping = new ExpertMapping({ phyToLog: slots, numLayers, numLogicalExperts });
  const repaired = repair(mapping, {
    numRanks,
    numNodes,
    deadRanks,
    loads: { data: loads, numLayers, numExperts: numLogicalExperts },
    ...(nodeOfRank && { nodeOfRank }),
    ...(rankSpeed && { rankSpeed }),
    ...(slotsPerRank && { slotsPerRank }),
    ...(rules && { rules }),
  });
  return repaired.mapping.phyToLog;
}

/** A placement without what is on dead ranks, of which no slot is open. A copy. */
export function withoutDead(slots: Int32Array, topology: Topology): Int32Array {
  const left = slots.slice();
  emptyClosedSlots(left, topology);
  return left;
}

/** Experts that no slot holds. @param loads [layers x logical] */
export function lostExperts(slots: Int32Array, topology: Topology, loads: Float32Array): LostExperts {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const isHeld = new Uint8Array(numLayers * numLogicalExperts);
  slots.forEach((expert, at) => {
    if (expert >= 0) isHeld[Math.floor(at / numPhysicalExperts) * numLogicalExperts + expert] = 1;
  });
  let count = 0;
  let lost = 0;
  let all = 0;
  isHeld.forEach((held, at) => {
    all += loads[at]!;
    if (held === 1) return;
    count++;
    lost += loads[at]!;
  });
  return { count, loadShare: all === 0 ? 0 : lost / all };
}

/**
 * Counts and prices, layer by layer, what it takes from one placement to another one at once. What no live
 * rank has is loaded from the host: over the links of the class `host` where the cost model has one, else as
 * over those between nodes. All ranks load at once, each one expert after the other.
 *
 * @param before [layers x physical], without what is on dead ranks
 * @param after the same
 */
export function mendCosts(
  before: Int32Array,
  after: Int32Array,
  topology: Topology,
  cost: ReplayCost,
): LayerMend[] {
  const { numLayers, numPhysicalExperts, numLogicalExperts, numRanks } = topology;
  const counter = new MoveCounter(topology);
  const stride = numPhysicalExperts / numRanks;
  return Array.from({ length: numLayers }, (_, layer) => {
    const row = (slots: Int32Array) =>
      slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
    const [from, to] = [row(before), row(after)];
    const isHeld = new Uint8Array(numLogicalExperts);
    for (const expert of from) if (expert >= 0) isHeld[expert] = 1;
    const fromRanks = to.slice();
    const ofRank = new Int32Array(numRanks);
    to.forEach((expert, slot) => {
      if (expert < 0 || isHeld[expert] === 1) return;
      fromRanks[slot] = from[slot]!;
      ofRank[Math.floor(slot / stride)]!++;
    });
    const moved = layerTransfers(from, fromRanks, counter, numRanks, cost);
    const hostLoads = ofRank.reduce((sum, count) => sum + count, 0);
    return {
      ...moved,
      hostLoads,
      changedSlots: moved.changedSlots + hostLoads,
      bytes: moved.bytes + hostLoads * cost.bytesPerExpert,
      seconds: moved.seconds + hostSeconds(ofRank, cost),
    };
  });
}

/** @param ofRank `[ranks]`: loads from the host */
function hostSeconds(ofRank: Int32Array, cost: ReplayCost): number {
  const { bytesPerExpert, concurrentTransfers, interNodeBytesPerSecond, time } = cost;
  const count = ofRank.reduce(
    (all, own) => (concurrentTransfers === 'none' ? all + own : Math.max(all, own)),
    0,
  );
  if (count === 0) return 0;
  const host = time.kind === 'slots' ? time.model.links.host : undefined;
  if (host === undefined) return (count * bytesPerExpert) / interNodeBytesPerSecond;
  return host.latencySeconds + (count * bytesPerExpert) / host.bytesPerSecond;
}

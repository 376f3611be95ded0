import { firstInClosedSlot } from '../core/open-slots.ts';
import { EplbError, type ExpertMapping, type Topology } from '../index.ts';

/**
 * The slots of a planned mapping, [layers x physical], checked from the tables themselves whatever made them:
 * a replay never scores a placement that drops an expert, names slots or experts that do not exist, fills
 * closed slots, or whose counts do not add up.
 *
 * @param name the policy, for messages
 * @throws EplbError `EPLB_MAPPING`, naming layer, slot and expert
 */
export function checkedSlots(mapping: ExpertMapping, topology: Topology, name: string): Int32Array {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const slots = mapping.phyToLog;
  const replicaCount = mapping.replicaCount;
  const fail = (what: string) =>
    new EplbError('EPLB_MAPPING', `policy ${JSON.stringify(name)}: its mapping ${what}`);
  if (slots.length !== numLayers * numPhysicalExperts) {
    throw fail(`has ${slots.length} slots, not ${numLayers} layers of ${numPhysicalExperts}`);
  }
  if (replicaCount.length !== numLayers * numLogicalExperts) {
    throw fail(
      `counts replicas of ${replicaCount.length} experts, not ${numLayers} layers of ${numLogicalExperts}`,
    );
  }
  const closed = firstInClosedSlot(slots, topology);
  if (closed >= 0) {
    const [layer, slot] = [Math.floor(closed / numPhysicalExperts), closed % numPhysicalExperts];
    throw fail(`has expert ${slots[closed]} in layer ${layer}, slot ${slot}, which is closed`);
  }
  const counts = new Int32Array(numLogicalExperts);
  for (let layer = 0; layer < numLayers; layer++) {
    counts.fill(0);
    for (let slot = 0; slot < numPhysicalExperts; slot++) {
      const expert = slots[layer * numPhysicalExperts + slot]!;
      if (!(Number.isInteger(expert) && expert >= -1 && expert < numLogicalExperts)) {
        throw fail(
          `has expert ${expert} in layer ${layer}, slot ${slot}; experts go from 0 to ` +
            `${numLogicalExperts - 1}`,
        );
      }
      if (expert !== -1) counts[expert]!++;
    }
    for (let expert = 0; expert < numLogicalExperts; expert++) {
      const told = replicaCount[layer * numLogicalExperts + expert];
      if (counts[expert] === 0) throw fail(`drops expert ${expert} of layer ${layer}: no slot holds it`);
      if (counts[expert] !== told) {
        throw fail(
          `counts ${told} replicas of expert ${expert} of layer ${layer}; its slots hold ${counts[expert]}`,
        );
      }
    }
  }
  return slots;
}

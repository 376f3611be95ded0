import { openPlaces } from '../core/open-slots.ts';
import { NO_LIMIT } from '../core/placement-rules.ts';
import { type LayerRules, ruleBookOf } from '../core/rule-book.ts';
import type { Topology } from '../core/topology.ts';
import { zeros } from '../memory/allocate.ts';

/** A placement that keeps the rules of a topology, made for no loads: [layers x physical]. */
export function ruledSlots(topology: Topology): Int32Array {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = topology;
  const places = openPlaces(topology);
  const book = ruleBookOf(topology);
  const none: LayerRules = { pins: new Map(), mostCopies: new Int32Array(numLogicalExperts).fill(NO_LIMIT) };
  const rows = new Map<LayerRules, Int32Array>();
  const table = zeros(
    `${numLayers} rows of ${numPhysicalExperts} slots`,
    Int32Array,
    numLayers * places.length,
  );
  for (let layer = 0; layer < numLayers; layer++) {
    const rules = book?.layer(layer) ?? none;
    const row = rows.get(rules) ?? ruledRow(rules, places, topology);
    rows.set(rules, row);
    table.set(row, layer * numPhysicalExperts);
  }
  return table;
}

/** A layer that keeps its rules: pinned copies, then all other experts, then further copies. */
function ruledRow({ pins, mostCopies }: LayerRules, places: Int32Array, { numRanks }: Topology): Int32Array {
  const row = new Int32Array(places.length).fill(-1);
  const stride = places.length / numRanks;
  const next = Array.from({ length: numRanks }, (_, rank) => rank * stride);
  for (const [expert, ranks] of pins) for (const rank of ranks) row[next[rank]!++] = expert;
  const free = Array.from(row.keys()).filter((slot) => row[slot]! < 0 && places[slot]! >= 0);
  const others = Array.from(mostCopies.keys()).filter((expert) => !pins.has(expert));
  const further = Array.from(mostCopies.keys()).filter((expert) => mostCopies[expert] === NO_LIMIT);
  let turn = 0;
  for (const [place, slot] of free.entries()) {
    if (place < others.length) {
      row[slot] = others[place]!;
      continue;
    }
    const rank = Math.floor(slot / stride);
    const isHere = (expert: number) => row.subarray(rank * stride, (rank + 1) * stride).includes(expert);
    const order = further.map((_, i) => further[(turn + i) % further.length]!);
    const expert = order.find((one) => !isHere(one)) ?? order[0]!;
    row[slot] = expert;
    turn = further.indexOf(expert) + 1;
  }
  return row;
}

import { checkWhole, loadError, slotsPerRankOf } from '../core/checks.ts';
import { checkDispatch, type Dispatch } from '../core/dispatch.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkNodes } from '../core/nodes.ts';
import { checkDeadRanks } from '../core/rank-options.ts';
import { MAX_SIZE, type Topology } from '../core/topology.ts';
import { CopyShares } from '../mapping/copy-shares.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { type DispatchRanks, SlotShares } from '../mapping/slot-shares.ts';
import { zeros } from '../memory/allocate.ts';
import { copyLoads, type LoadsInput, toLoadMatrix } from './load-matrix.ts';
import { checkSourceLoads, isBySource, type SourceLoads } from './source-loads.ts';

/** Which copies tokens take, and what decides which are near. */
export interface DispatchOptions extends Partial<Pick<Topology, 'numNodes' | 'nodeOfRank' | 'deadRanks'>> {
  readonly numRanks: number;
  /** Default 'even'. */
  readonly dispatch?: Dispatch;
}

/** The loads of slots and ranks, and where tokens were taken to be. */
export interface SlotLoads {
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** `Float64Array[layers x physical]`: tokens of each slot; 0 of an empty one. */
  readonly slots: Float64Array;
  /** `Float64Array[layers x ranks]`: the sums over each rank's slots. */
  readonly ranks: Float64Array;
  /** 'uniform': nothing says where tokens are, and they are taken to be on all ranks that live alike. */
  readonly sources: 'given' | 'uniform';
}

const OPTIONS = ['numRanks', 'numNodes', 'nodeOfRank', 'deadRanks', 'dispatch'];

/**
 * The tokens that each slot and rank gets from some loads, as an engine dispatches them. With dispatch
 * 'even', every copy of an expert gets equally many. With 'nearest', a token takes a copy on its own rank if
 * there is one, else one on its node, else any.
 *
 * @param loads [layers x logical], or by the rank that tokens are on: {@link SourceLoads}
 * @throws EplbTypeError, EplbRangeError for loads or sizes that do not fit the mapping, naming the option
 * @example
 * ```ts
 * // Expert 0 has two copies on node 0 and one on node 1, which takes all of its node's tokens.
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 0, 0, 1]]);
 * slotLoads([[12, 4]], mapping, { numRanks: 4, numNodes: 2, dispatch: 'nearest' }).ranks; // 3, 3, 6, 4
 * ```
 */
export function slotLoads(
  loads: LoadsInput | SourceLoads,
  mapping: ExpertMapping,
  options: DispatchOptions,
): SlotLoads {
  checkMapping('mapping', mapping);
  const { numRanks, dispatch, ...nodes } = checkOptions('options', options, OPTIONS);
  return dispatchLoads('loads', loads, mapping, numRanks, {
    ...readNodes(nodes, numRanks),
    dispatch: checkDispatch(dispatch),
  });
}

/** What a checked dispatch goes by. */
type CheckedDispatch = DispatchRanks & { readonly dispatch: Dispatch };

/** {@link slotLoads} of options that are checked. */
export function dispatchLoads(
  title: string,
  loads: LoadsInput | SourceLoads,
  mapping: ExpertMapping,
  numRanks: number,
  ranks: CheckedDispatch,
): SlotLoads {
  const { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog } = tablesOf(mapping);
  const perRank = slotsPerRankOf(numPhysicalExperts, numRanks);
  const what = `loads of ${numPhysicalExperts} slots`;
  const slots = zeros(what, Float64Array, numLayers * numPhysicalExperts);
  const tables = Array.from({ length: numLayers }, (_, layer) =>
    phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts),
  );
  const rows = tables.map((_, layer) =>
    slots.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts),
  );
  const sources = isBySource(loads) ? 'given' : 'uniform';
  if (isBySource(loads)) {
    const data = checkSourceLoads(title, loads, { numLayers, numRanks, numLogicalExperts });
    const size = numRanks * numLogicalExperts;
    tables.forEach((table, layer) => {
      const copies = new CopyShares(table, { ...ranks, numLogicalExperts }, ranks.dispatch);
      addGiven(title, layer, data.subarray(layer * size, (layer + 1) * size), numRanks, copies, rows[layer]!);
    });
  } else {
    const { data } = copyLoads(title, toLoadMatrix(title, loads, numLayers, numLogicalExperts));
    const shares = new SlotShares(ranks, numLogicalExperts, ranks.dispatch);
    tables.forEach((table, layer) => {
      const row = rows[layer]!;
      shares.write(table, row);
      const first = layer * numLogicalExperts;
      for (let slot = 0; slot < row.length; slot++)
        if (table[slot]! >= 0) row[slot]! *= data[first + table[slot]!]!;
    });
  }
  const ofRanks = zeros(what, Float64Array, numLayers * numRanks);
  for (let slot = 0; slot < slots.length; slot++) ofRanks[Math.floor(slot / perRank)]! += slots[slot]!;
  return { numLayers, numPhysicalExperts, numRanks, slots, ranks: ofRanks, sources };
}

/** Adds a layer's loads [ranks x logical] to its slots. */
function addGiven(
  title: string,
  layer: number,
  data: Float32Array,
  numRanks: number,
  copies: CopyShares,
  out: Float64Array,
): void {
  const numExperts = data.length / numRanks;
  for (let at = 0; at < data.length; at++) {
    const load = data[at]!;
    const expert = at % numExperts;
    if (!(load >= 0 && load < Number.POSITIVE_INFINITY)) throw loadError(title, layer, expert, load);
    if (load === 0) continue;
    const numSlots = copies.findSlots(expert, Math.floor(at / numExperts));
    for (let i = 0; i < numSlots; i++) out[copies.slots[i]!]! += load / numSlots;
  }
}

/**
 * The nodes of ranks, checked.
 * @throws EplbTypeError, EplbRangeError naming the option; `EPLB_TOPOLOGY` where no rank lives
 */
export function readNodes(
  given: Partial<Pick<Topology, 'numNodes' | 'nodeOfRank' | 'deadRanks'>>,
  numRanks: number,
): DispatchRanks {
  checkWhole('numRanks', numRanks, 1, MAX_SIZE);
  const numNodes = checkWhole('numNodes', given.numNodes ?? 1, 1, MAX_SIZE);
  const nodeOfRank = checkNodes(given.nodeOfRank, { numRanks, numNodes });
  const deadRanks = checkDeadRanks(given.deadRanks, { numRanks });
  if (deadRanks?.length === numRanks)
    throw new EplbRangeError('EPLB_TOPOLOGY', `deadRanks: none of the ${numRanks} ranks lives`);
  return { numRanks, numNodes, ...(nodeOfRank && { nodeOfRank }), ...(deadRanks && { deadRanks }) };
}

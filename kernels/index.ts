// What the module exports that every balancer needs; that of adaptive/index.ts is another one. The memory is
// imported and shared; every kernel takes byte offsets into it and allocates nothing. Nothing here may become
// a data segment: each new instance would write it over the shared memory.

export { placeLayers, placeLayersScratchBytes } from './default/hierarchy';
export { packLayer, packLayerScratchBytes } from './default/pack-layer';
export { placeRow, placeRowScratchBytes } from './default/place-row';
export { preserveSlots, preserveSlotsScratchBytes } from './default/preserve';
export { replicateLayer, replicateLayerScratchBytes } from './default/replicate';
export { addToBands, foldToBands } from './shared/bands';
export { clearBytes, copyBytes } from './shared/bytes';
export {
  averageLoads,
  averageLoadsScratchBytes,
  averageSlots,
  foldLoads,
  foldSample,
  foldSums,
} from './shared/fold';
export { loadImbalance } from './shared/imbalance';
export { countReplicas, invertLayer } from './shared/inverse';
export { narrowRow, replaceRow, widenRow } from './shared/narrow';
export { rankLoads, windowImbalance, windowImbalanceScratchBytes } from './shared/rank-loads';
export { scoreLayers, scoreLayersScratchBytes, scoreTables } from './shared/score';
export { sortKeysDescending, sortKeysScratchBytes } from './shared/sort';
export { firstInvalid, recordRow } from './shared/validate';
export { addSample, addSums } from './shared/window';

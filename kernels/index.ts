// What the module exports. The memory is imported and shared; every kernel takes byte offsets into it and allocates
// nothing. Nothing here may become a data segment: each new instance would write it over the shared memory.

export { searchAdaptive } from './adaptive';
export { prepareSamples } from './adaptive-samples';
export { addToBands, foldToBands } from './bands';
export { clearBytes, copyBytes } from './bytes';
export { averageLoads, averageSlots, foldSample, foldSums } from './fold';
export { placeLayers } from './hierarchy';
export { loadImbalance } from './imbalance';
export { countReplicas, invertLayer } from './inverse';
export { placeLocality } from './locality';
export { narrowRow, widenRow } from './narrow';
export { packLayer } from './pack';
export { placeRow } from './place-row';
export { preserveSlots } from './preserve';
export { rankLoads, windowImbalance } from './rank-loads';
export { replicateLayer } from './replicate';
export { scoreLayers } from './score';
export { sortKeysDescending } from './sort';
export { firstInvalid, recordRow } from './validate';
export { addSample, addSums } from './window';

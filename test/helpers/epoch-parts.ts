/** What `epochs.ts` puts into one file. */
export { EplbRangeError } from '../../src/core/errors.ts';
export { ExpertMapping } from '../../src/mapping/expert-mapping.ts';
export { RankMachine } from '../../src/migration/rank-machine.ts';
export { EventHub } from '../../src/serve/epochs/event-hub.ts';
export { GroupEpochs } from '../../src/serve/epochs/group-epochs.ts';
export { stateOf } from '../../src/serve/group-store.ts';
export { laidOut } from '../../src/serve/laid-out.ts';
export { held } from '../../src/serve/live-epochs.ts';
export { mappingOfRecord, mappingRecord } from '../../src/serve/mapping-record.ts';

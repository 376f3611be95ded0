import { mkdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Parts {
  readonly GroupEpochs: typeof import('../../src/serve/epochs/group-epochs.ts').GroupEpochs;
  readonly EventHub: typeof import('../../src/serve/epochs/event-hub.ts').EventHub;
  readonly ExpertMapping: typeof import('../../src/mapping/expert-mapping.ts').ExpertMapping;
  readonly RankMachine: typeof import('../../src/migration/rank-machine.ts').RankMachine;
  readonly EplbRangeError: typeof import('../../src/core/errors.ts').EplbRangeError;
  readonly held: typeof import('../../src/serve/live-epochs.ts').held;
  readonly mappingRecord: typeof import('../../src/serve/mapping-record.ts').mappingRecord;
  readonly mappingOfRecord: typeof import('../../src/serve/mapping-record.ts').mappingOfRecord;
  readonly stateOf: typeof import('../../src/serve/group-store.ts').stateOf;
}

const SOURCES = [
  "export { GroupEpochs } from './serve/epochs/group-epochs.ts';",
  "export { EventHub } from './serve/epochs/event-hub.ts';",
  "export { ExpertMapping } from './mapping/expert-mapping.ts';",
  "export { RankMachine } from './migration/rank-machine.ts';",
  "export { EplbRangeError } from './core/errors.ts';",
  "export { held } from './serve/live-epochs.ts';",
  "export { mappingOfRecord, mappingRecord } from './serve/mapping-record.ts';",
  "export { stateOf } from './serve/group-store.ts';",
];

let loaded: Promise<Parts> | undefined;

/** The parts of the service that epochs are, without HTTP, in a file of their own: classes are one in it. */
export function loadEpochs(): Promise<Parts> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Parts> {
  await mkdir(`${ROOT}build`, { recursive: true });
  const outfile = `${ROOT}build/epochs-${process.pid}.mjs`;
  await build({
    stdin: { contents: SOURCES.join(''), resolveDir: `${ROOT}src` },
    ...{ outfile, bundle: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external' },
    loader: { '.wasm': 'base64' },
    logLevel: 'error',
  });
  const parts: Parts = await import(outfile);
  await rm(outfile);
  return parts;
}

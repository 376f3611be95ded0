import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type * as errors from '../../src/core/errors.ts';
import type * as mappings from '../../src/mapping/expert-mapping.ts';
import type * as lives from '../../src/mapping/live-mapping.ts';
import type * as publishing from '../../src/mapping/published-mapping.ts';
import type * as lanes from '../../src/share/lane.ts';

type Parts = typeof lanes & typeof publishing & typeof mappings & typeof lives & typeof errors;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(ROOT, 'build', 'generations-'));
after(() => rmSync(folder, { recursive: true }));

/**
 * Inner parts of the library, which nothing exports: a process would commit for years to come to such
 * generations.
 */
const { ExpertMapping, Lane, LiveMapping, PublishedMapping, carvePublished, Carver, tablesOf } =
  await parts();

async function parts(): Promise<Parts & typeof import('../../src/memory/carver.ts')> {
  const files = [
    'share/lane',
    'mapping/published-mapping',
    'mapping/expert-mapping',
    'mapping/live-mapping',
    'memory/carver',
  ];
  const contents = files.map((file) => `export * from './src/${file}.ts';`).join('\n');
  const outfile = join(folder, 'parts.mjs');
  await build({
    stdin: { contents, resolveDir: ROOT, loader: 'ts' },
    ...{ outfile, bundle: true, platform: 'node', target: 'node20', format: 'esm', packages: 'external' },
    loader: { '.wasm': 'base64' },
  });
  return import(pathToFileURL(outfile).href);
}

const sizes = {
  numLayers: 1,
  numLogicalExperts: 2,
  numPhysicalExperts: 4,
  numRanks: 2,
  numNodes: 1,
  numGroups: 1,
};
const mappingOf = (first: number) => ExpertMapping.fromPhysicalToLogical([[first, 0, 1, 1]]);
/** Around where 32 bits end, signed and not. */
const EDGES = [2 ** 31, 2 ** 32, 2 ** 40];

test('a reader has the newest mapping and its generation also after 2^31 commits', () => {
  for (const edge of EDGES) {
    const carver = new Carver();
    const layout = carvePublished(sizes, carver);
    const buffer = new SharedArrayBuffer(carver.end);
    const writer = new PublishedMapping(buffer, layout);
    const reader = new PublishedMapping(buffer, layout);
    for (let generation = edge - 3; generation < edge + 3; generation++) {
      const mapping = mappingOf(generation % 2);
      writer.write(mapping, generation);
      const read = reader.read();
      assert.equal(read.generation, generation);
      assert.ok(read.mapping.equals(mapping));
    }
  }
});

test('rows of a thread keep the generation they were recorded under also after 2^31 commits', () => {
  for (const edge of EDGES) {
    const host = new Lane(sizes);
    const guest = new Lane(sizes, host.buffer);
    for (let generation = edge - 3; generation < edge + 3; generation++) {
      guest.changeMapping(tablesOf(mappingOf(0)), generation);
      assert.equal(host.generationHeld, generation);
      guest.recordPhysical(0, [1, 2, 3, 4]);
      const taken: number[] = [];
      host.drain({
        physical: (_layer, _row, of) => taken.push(of),
        logical: () => assert.fail('rows of experts'),
      });
      assert.deepEqual(taken, [generation]);
    }
  }
});

test('plans are told stale from fresh also after 2^31 commits', () => {
  for (const edge of EDGES) {
    const live = new LiveMapping(mappingOf(0), edge - 2);
    for (let i = 0; i < 4; i++) {
      const [fresh, stale] = [mappingOf(1), mappingOf(1)];
      live.notePlan(stale, live.generation - 1, 0);
      live.notePlan(fresh, live.generation, 0);
      assert.throws(() => live.checkFresh(stale), { code: 'EPLB_STALE' });
      live.checkFresh(fresh);
      live.replace(fresh, 0);
    }
    assert.equal(live.generation, edge + 2);
  }
});

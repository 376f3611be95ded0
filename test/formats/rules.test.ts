import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { PlacementRules } from 'expert-load-balancer';
import { type RulesFile, readRules, rulesFromJson } from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { inTempDir } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { type Refusal, refusal, SEED } from '../helpers/library.ts';

const SCHEMA = packageSchema('schemas/rules.schema.json');

/** Numbers, and how a file may name them. */
const sets = fc
  .tuple(fc.nat(60), fc.integer({ min: 1, max: 5 }), fc.constantFrom('list', 'text', 'both'))
  .map(([first, count, kind]) => {
    const numbers = Array.from({ length: count }, (_, i) => first + i);
    const text = count === 1 ? `${first}` : `${first}-${first + count - 1}`;
    const named = kind === 'list' ? numbers : kind === 'text' ? text : [text, 90];
    return { named, numbers: kind === 'both' ? [...numbers, 90] : numbers };
  });

/** A file, and what it says, told from the same draws. */
const cases: fc.Arbitrary<{ readonly file: RulesFile; readonly told: PlacementRules }> = fc
  .record({
    pins: fc.array(fc.tuple(sets, sets, fc.option(sets), fc.option(fc.boolean())), { maxLength: 3 }),
    singles: fc.option(fc.array(fc.tuple(fc.option(sets), fc.option(sets)), { maxLength: 3 })),
    shared: fc.option(fc.tuple(fc.constantFrom(0, 0.125, [0.5, 0]), fc.option(sets), fc.option(fc.nat(3)))),
  })
  .map(({ pins, singles, shared }) => {
    const tell = (kind: 'named' | 'numbers') => ({
      pinned: pins.map(([experts, ranks, layers, only]) => ({
        experts: experts[kind],
        ranks: ranks[kind],
        ...(layers && { layers: layers[kind] }),
        ...(only !== null && { only }),
      })),
      ...(singles && {
        neverReplicated: singles.map(([experts, layers]) => ({
          ...(experts && { experts: experts[kind] }),
          ...(layers && { layers: layers[kind] }),
        })),
      }),
      ...(shared && {
        sharedExpert: {
          load: shared[0],
          ...(shared[1] && { ranks: shared[1][kind] }),
          ...(shared[2] !== null && { slots: shared[2] }),
        },
      }),
    });
    return { file: tell('named') as RulesFile, told: tell('numbers') as PlacementRules };
  });

const REFUSED: readonly (readonly [content: unknown, ...Refusal])[] = [
  [[], 'type', 'EPLB_KIND', /^rules: is a list, not an object of fields/],
  [{ pins: [] }, 'type', 'EPLB_OPTION', /no option "pins"/],
  [
    { pinned: [{ experts: 'x', ranks: 0 }] },
    'range',
    'EPLB_RANGE',
    /pinned\[0\]\.experts: "x" is neither an expert nor a range of experts/,
  ],
  [
    { pinned: [{ ranks: 0 }] },
    'type',
    'EPLB_KIND',
    /pinned\[0\]\.experts: undefined is neither an expert nor a range/,
  ],
  [
    { pinned: [{ experts: 0, ranks: '3-1' }] },
    'range',
    'EPLB_RANGE',
    /pinned\[0\]\.ranks: "3-1" goes backwards/,
  ],
  [{ neverReplicated: 3 }, 'type', 'EPLB_KIND', /neverReplicated: 3 is not a list of rules/],
  [{ neverReplicated: [{ layers: 1.5 }] }, 'range', 'EPLB_NOT_WHOLE', /neverReplicated\[0\]\.layers: 1\.5/],
  [{ sharedExpert: { load: '1/8' } }, 'type', 'EPLB_KIND', /sharedExpert\.load: .*is not a number/],
  [{ sharedExpert: { load: 0.1, isTaken: true } }, 'type', 'EPLB_OPTION', /no option "isTaken"/],
];

describe('files of rules', () => {
  test('what a file says is what the library gets, as an object, as JSON and as YAML', async () => {
    await inTempDir(async (dir) => {
      const property = fc.asyncProperty(cases, async ({ file, told }) => {
        assert.deepEqual(rulesFromJson(file), told);
        assert.deepEqual(schemaErrors(SCHEMA, JSON.parse(JSON.stringify(file))), []);
        const [json, yaml] = [join(dir, 'r.json'), join(dir, 'r.yaml')];
        await writeFile(json, JSON.stringify(file));
        await writeFile(yaml, stringify(file));
        assert.deepEqual(await readRules(json), told);
        assert.deepEqual(await readRules(yaml), told);
      });
      await fc.assert(property, { seed: SEED, numRuns: 40 });
    });
  });

  test('what is wrong is refused by its name, and by the schema', () => {
    for (const [content, ...refused] of REFUSED) {
      assert.throws(() => rulesFromJson(content), refusal(...refused));
      const isBackwards = JSON.stringify(content).includes('3-1');
      assert.equal(schemaErrors(SCHEMA, content).length > 0, !isBackwards, JSON.stringify(content));
    }
  });
});

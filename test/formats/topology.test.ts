import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { EplbError, EplbRangeError, EplbTypeError, ExpertLoadBalancer } from 'expert-load-balancer';
import {
  type DeviceTopology,
  readTopology,
  type TopologyFile,
  topologyFromJson,
} from 'expert-load-balancer/formats';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { inTempDir } from '../helpers/cli.ts';
import { packageSchema, schemaErrors } from '../helpers/json-schema.ts';
import { refusal, SEED } from '../helpers/library.ts';

const SCHEMA = packageSchema('schemas/topology.schema.json');

/** Consecutive ranks as a list, or as a text of a range. */
const rankSet = (ranks: readonly number[], asText: boolean) =>
  asText && ranks.length > 1 ? `${ranks[0]}-${ranks.at(-1)}` : ranks;

/** Cuts a row of ranks into runs. */
function runsOf(numRanks: number, cuts: readonly boolean[]): number[][] {
  const runs: number[][] = [[]];
  for (let rank = 0; rank < numRanks; rank++) {
    if (rank > 0 && cuts[rank % cuts.length]) runs.push([]);
    runs.at(-1)!.push(rank);
  }
  return runs;
}

const indexOfRun = (runs: readonly (readonly number[])[]) => runs.flatMap((run, i) => run.map(() => i));

interface Case {
  readonly file: TopologyFile;
  readonly told: DeviceTopology;
}

/** A file, and what it says, told from the same draws. */
const cases: fc.Arbitrary<Case> = fc
  .record({
    numRanks: fc.integer({ min: 1, max: 12 }),
    perRank: fc.integer({ min: 1, max: 4 }),
    cuts: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    domainCuts: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
    speeds: fc.array(fc.constantFrom(0.5, 0.8, 1, 1.25), { minLength: 12, maxLength: 12 }),
    has: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
    asText: fc.boolean(),
    dead: fc.nat({ max: 11 }),
  })
  .map(({ numRanks, perRank, cuts, domainCuts, speeds, has, asText, dead }): Case => {
    const nodes = runsOf(numRanks, cuts);
    const domains = runsOf(numRanks, domainCuts);
    const own = speeds.slice(0, numRanks);
    const differing = Object.fromEntries(own.flatMap((speed, rank) => (speed === 1 ? [] : [[rank, speed]])));
    const isEven = nodes.every(({ length }) => length === nodes[0]!.length);
    const deadRanks = numRanks > 1 && dead < numRanks ? [dead] : [];
    const node = indexOfRun(nodes);
    const domain = indexOfRun(domains);
    const linkClasses = node.map((a, from) =>
      node.map((b, to) => (a === b ? 'fast' : domain[from] === domain[to] ? 'leaf' : 'spine')),
    );
    const parts: readonly [TopologyFile | object, DeviceTopology | object][] = [
      [
        { nodes: nodes.map((run) => rankSet(run, asText)) },
        { numNodes: nodes.length, ...(isEven ? {} : { nodeOfRank: node }) },
      ],
      [{ slotsPerRank: perRank }, { numPhysicalExperts: perRank * numRanks }],
      [{ groups: 3 }, { numGroups: 3 }],
      [{ rankSpeed: asText ? own : differing }, own.every((speed) => speed === 1) ? {} : { rankSpeed: own }],
      [{ deadRanks }, deadRanks.length === 0 ? {} : { deadRanks }],
      [
        {
          nodes: nodes.map((run) => rankSet(run, asText)),
          failureDomains: { rack: domains.map((run) => rankSet(run, !asText)) },
          linkClasses: asText ? linkClasses : { node: 'fast', rack: 'leaf', other: 'spine' },
        },
        {
          numNodes: nodes.length,
          ...(isEven ? {} : { nodeOfRank: node }),
          failureDomains: { rack: domain },
          linkClasses,
        },
      ],
    ];
    const chosen = parts.filter((_, i) => has[i]);
    return {
      file: Object.assign({ ranks: numRanks }, ...chosen.map(([file]) => file)),
      told: Object.assign({ numRanks }, ...chosen.map(([, told]) => told)),
    };
  });

describe('topology files', () => {
  test('what a file says is what the library gets, as an object, as JSON and as YAML', async () => {
    await inTempDir(async (dir) => {
      const property = fc.asyncProperty(cases, async ({ file, told }) => {
        assert.deepEqual(topologyFromJson(file), told);
        assert.deepEqual(schemaErrors(SCHEMA, JSON.parse(JSON.stringify(file))), []);
        const [json, yaml] = [join(dir, 't.json'), join(dir, 't.yaml')];
        await writeFile(json, JSON.stringify(file));
        await writeFile(yaml, stringify(file));
        assert.deepEqual(await readTopology(json), told);
        assert.deepEqual(await readTopology(yaml), told);
      });
      await fc.assert(property, { seed: SEED, numRuns: 60 });
    });
  });

  test('any change of a file is refused by the schema, or by name, or is another topology', () => {
    const values = fc.constantFrom<unknown>(
      ...[
        -1,
        0,
        1.5,
        1e9,
        Number.NaN,
        '0-3',
        '3-0',
        'x',
        '',
        null,
        true,
        [],
        {},
        [[]],
        [0, 0],
        ['0-99'],
        { 0: 'x' },
      ],
    );
    const property = fc.property(
      cases,
      fc.constantFrom(...Object.keys(SCHEMA.properties!), 'rank'),
      values,
      (one, name, value) => {
        const changed = { ...one.file, [name]: value };
        try {
          const told = topologyFromJson(changed, 'devices');
          assert.deepEqual(schemaErrors(SCHEMA, changed), [], JSON.stringify(changed));
          assert.ok(Object.isFrozen(told));
        } catch (error) {
          assert.ok(error instanceof EplbTypeError || error instanceof EplbRangeError, String(error));
          assert.match(error.message, /^devices: [\w$ ]/);
          assert.doesNotMatch(error.message, /\n|numRanks|numNodes|nodeOfRank|numPhysicalExperts/);
        }
      },
    );
    fc.assert(property, { seed: SEED, numRuns: 600 });
  });

  test('what is wrong is said by name', () => {
    const refused = (
      file: object,
      kind: 'type' | 'range',
      code: 'EPLB_KIND' | 'EPLB_RANGE' | 'EPLB_TOPOLOGY' | 'EPLB_OPTION' | 'EPLB_SHAPE',
      message: RegExp,
    ) => assert.throws(() => topologyFromJson(file), refusal(kind, code, message));
    refused({ nodes: 2 }, 'type', 'EPLB_KIND', /^topology: ranks: how many there are is missing$/);
    refused({ rank: 4 }, 'type', 'EPLB_OPTION', /there is no option "rank"; did you mean ranks\?/);
    refused(
      { ranks: 4, nodes: ['0-1', '1-3'] },
      'range',
      'EPLB_TOPOLOGY',
      /nodes: rank 1 is there twice, with node 1/,
    );
    refused({ ranks: 4, nodes: ['0-1', 3] }, 'range', 'EPLB_TOPOLOGY', /nodes: rank 2 is in no node/);
    refused(
      {
        ranks: 4,
        nodes: [
          [0, 2],
          [1, 3],
        ],
      },
      'range',
      'EPLB_TOPOLOGY',
      /nodes: rank 2 is on node 0 after node 1/,
    );
    refused(
      { ranks: 2, slots: 9, slotsPerRank: 5 },
      'range',
      'EPLB_TOPOLOGY',
      /slots: 9, but 2 ranks of slotsPerRank 5 have 10/,
    );
    refused(
      { ranks: 2, slotsPerRank: [5] },
      'range',
      'EPLB_SHAPE',
      /slotsPerRank: has 1 numbers, not 2, one a rank/,
    );
    refused({ ranks: 2, rankSpeed: { '0-1': 1, 1: 0.5 } }, 'range', 'EPLB_RANGE', /rank 1 is there twice/);
    refused({ ranks: 2, linkClasses: { node: 'a' } }, 'range', 'EPLB_RANGE', /no class for other links/);
    refused(
      { ranks: 2, linkClasses: { rack: 'a', other: 'b' } },
      'range',
      'EPLB_RANGE',
      /"rack" is not a level; there are node, other/,
    );
    refused(
      { ranks: 2, failureDomains: { node: [[0, 1]] } },
      'range',
      'EPLB_RANGE',
      /node is a level anyway/,
    );
    refused(
      { ranks: 2, deadRanks: '0-1' },
      'range',
      'EPLB_TOPOLOGY',
      /deadRanks: none of the 2 ranks lives$/,
    );
    const noSlot = /slots: no rank that lives has one$/;
    refused({ ranks: 2, slotsPerRank: [0, 4], deadRanks: 1 }, 'range', 'EPLB_TOPOLOGY', noSlot);
    refused({ ranks: 2, slots: 4, slotsPerRank: [0, 0] }, 'range', 'EPLB_TOPOLOGY', noSlot);
    refused({ ranks: 2, slotsPerRank: [0, 0] }, 'range', 'EPLB_TOPOLOGY', noSlot);
    refused({ ranks: 3, slots: 1, deadRanks: 0 }, 'range', 'EPLB_TOPOLOGY', noSlot);
  });

  test('a balancer takes it as it is, with slots that ranks do not divide', () => {
    const topology = topologyFromJson({ ranks: 3, slots: 7 });
    const sizes = { numLayers: 1, numLogicalExperts: 4, numPhysicalExperts: 7, windowSize: 1 };
    const refused = refusal('range', 'EPLB_TOPOLOGY', /policies that can plan this: locality, adaptive$/);
    assert.throws(() => new ExpertLoadBalancer({ ...sizes, ...topology }), refused);
  });

  test('bytes that are not a topology are refused by name, and soon', async () => {
    const hostile: readonly [string, RegExp][] = [
      ['a: &a [x, x]\nb: *a', /alias/],
      ['ranks: 4\nranks: 5', /the key "ranks" twice/],
      ['['.repeat(60_000), /./],
      ['{a: '.repeat(15_000), /./],
      [`${'- '.repeat(30_000)}x`, /./],
      ['a: b: c', /./],
      ['\u0000', /./],
      ['- 1', /is a list, not an object/],
      ['just text', /is not an object/],
      ['# nothing', /is not an object/],
      ['ranks: 1e9', /ranks: 1000000000 is not from 1 to 65536/],
      [`ranks: 4\nx: ${'y'.repeat(70_000)}`, /up to 65536 bytes/],
      [
        Object.keys(Array.from({ length: 6000 }))
          .map((key) => `k${key}: 1`)
          .join('\n'),
        /there is no option/,
      ],
      ['ranks: 4\n__proto__: 1\n', /there is no option "__proto__"/],
    ];
    await inTempDir(async (dir) => {
      for (const [at, [text, message]] of hostile.entries()) {
        const path = join(dir, `${at}.yaml`);
        await writeFile(path, text);
        await assert.rejects(readTopology(path), (error: unknown) => {
          assert.ok(
            error instanceof EplbError || error instanceof EplbTypeError || error instanceof EplbRangeError,
            String(error),
          );
          assert.match(error.message, message, text.slice(0, 40));
          assert.ok(error.message.startsWith(`topology: ${JSON.stringify(path)}`), error.message);
          assert.ok(error.message.length < 600);
          return true;
        });
      }
      const path = join(dir, 'any');
      await writeFile(path, '  { "ranks": 2 }');
      assert.deepEqual(await readTopology(path), { numRanks: 2 });
      await writeFile(path, '{ ranks: 2 }');
      assert.deepEqual(await readTopology(path), { numRanks: 2 });
      const bytes = fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 40 }), async (content) => {
        await writeFile(path, content);
        await readTopology(path).then(
          () => assert.fail('read'),
          (error: unknown) => assert.ok(error instanceof Error && Reflect.has(error, 'code'), String(error)),
        );
      });
      await fc.assert(bytes, { seed: SEED, numRuns: 100 });
    });
  });
});

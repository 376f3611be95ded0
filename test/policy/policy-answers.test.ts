import assert from 'node:assert/strict';
import { cp, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AbstractEplbPolicy, ExpertLoadBalancer, ExpertMapping } from 'expert-load-balancer';
import { inTempDir } from '../helpers/cli.ts';
import { refusal, stateOf, withBalancer } from '../helpers/library.ts';

const policyUrl = (file: string) => new URL(`../fixtures/policies/${file}`, import.meta.url);
const sizes = { numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2, threads: 1 } as const;
const loads = [
  [1, 2, 9, 4],
  [1, 9, 2, 4],
];
const rows = [
  [0, 1, 2, 3, 0, 1],
  [3, 2, 1, 0, 1, 1],
];
const slots = [
  [[4, 0], [1, 5], [2], [3]],
  [[3], [5, 2, 4], [1], [0]],
];
const counts = [
  [2, 2, 1, 1],
  [1, 3, 1, 1],
];
const whole = { phyToLog: rows, logToPhy: slots, replicaCount: counts, numLayers: 2, numLogicalExperts: 4 };
const refused = (message: RegExp) => refusal('other', 'EPLB_POLICY', message);

/** A policy in this thread that gives `answer`. */
class Answering extends AbstractEplbPolicy {
  readonly name = 'mine';
  readonly #answer: () => unknown;

  constructor(answer: () => unknown) {
    super();
    this.#answer = answer;
  }

  override rebalanceExperts(): never {
    return this.#answer() as never;
  }
}

function planOf(answer: () => unknown): Promise<ExpertMapping> {
  return withBalancer({ ...sizes, policy: new Answering(answer) }, (balancer) => balancer.plan(loads));
}

/** A copy of a value that notes the path of everything that is read of it. */
function watched<T extends object>(value: T, reads: string[], path = ''): T {
  return new Proxy(value, {
    get(target, key) {
      const place = `${path}/${String(key)}`;
      reads.push(place);
      const found: unknown = Reflect.get(target, key);
      return typeof found === 'object' && found !== null && !ArrayBuffer.isView(found)
        ? watched(found, reads, place)
        : found;
    },
  });
}

const many = new Array(1e9);
/**
 * Answers of other sizes than the topology's, what is said of them, and how much may be read: rows and lists,
 * but no entry.
 */
const large: readonly (readonly [title: string, answer: object, message: RegExp, mostReads: number])[] = [
  ['10^9 layers', { phyToLog: many }, /1000000000 layers, not 2/, 4],
  ['a layer too few', { ...whole, phyToLog: rows.slice(1) }, /1 layers, not 2/, 4],
  ['10^9 slots', { phyToLog: [rows[0], many] }, /layer 1 has 1000000000 entries, not 6/, 8],
  ['a slot too few', { phyToLog: rows.map((row) => row.slice(1)) }, /layer 0 has 5 entries, not 6/, 6],
  ['a flat table too long', { ...whole, phyToLog: new Int32Array(13) }, /13 slots, not 2 x 6/, 3],
  ['10^9 experts', { ...whole, numLogicalExperts: 1e9 }, /numLogicalExperts: 1000000000, not 4/, 3],
  ['an expert too few', { ...whole, numLogicalExperts: 3 }, /numLogicalExperts: 3, not 4/, 3],
  ['10^9 layers, it says', { ...whole, numLayers: 1e9 }, /numLayers: 1000000000, not 2/, 3],
];

for (const [title, answer, message, mostReads] of large) {
  test(`an answer of ${title} is refused by its lengths, and no slot of it is read`, async () => {
    const reads: string[] = [];
    await assert.rejects(
      planOf(() => watched(answer, reads)),
      refused(message),
    );
    assert.ok(reads.length <= mostReads, `${reads}`);
    assert.deepEqual(
      reads.filter((path) => /\/\d+\/\d+$/.test(path)),
      [],
    );
  });
}

/** The tables beside the first one, which has been read by then. */
const largeBeside: readonly (readonly [title: string, answer: object, message: RegExp, table: string])[] = [
  ['counts of 10^9 layers', { replicaCount: many }, /1000000000 layers, not 2/, 'replicaCount'],
  ['10^9 counts', { replicaCount: [counts[0], many] }, /1 has 1000000000 entries, not 4/, 'replicaCount'],
  ['flat counts too many', { replicaCount: new Int32Array(9) }, /9 entries, not 8/, 'replicaCount'],
  ['replicas of 10^9 layers', { logToPhy: many }, /1000000000 layers, not 2/, 'logToPhy'],
  ['replicas of 10^9 experts', { logToPhy: [many, many] }, /1000000000 experts, not 4/, 'logToPhy'],
  ['10^9 replicas', { logToPhy: [[many]] }, /expert 0: has 1000000000 slots, not at most 6/, 'logToPhy'],
  [
    'flat replicas too many',
    { logToPhy: new Int32Array(56) },
    /7 slots an expert, not at most 6/,
    'logToPhy',
  ],
];

for (const [title, tables, message, table] of largeBeside) {
  test(`an answer with ${title} is refused by its lengths, and none of them is read`, async () => {
    const reads: string[] = [];
    await assert.rejects(
      planOf(() => watched({ ...whole, ...tables }, reads)),
      refused(message),
    );
    const entry = new RegExp(`^/${table}(/\\d+){${table === 'logToPhy' ? 3 : 2}}$`);
    assert.deepEqual(
      reads.filter((path) => entry.test(path)),
      [],
    );
  });
}

test('an answer that only looks like an array is refused, and nothing in it is read', async () => {
  const reads: string[] = [];
  const table = { length: 2, 0: rows[0], 1: rows[1] };
  for (const answer of [{ phyToLog: table }, { phyToLog: [rows[0], table] }]) {
    await assert.rejects(
      planOf(() => watched(answer, reads)),
      refused(/not (a table|an array)/),
    );
  }
  assert.deepEqual(
    reads.filter((path) => /phyToLog(\/1)?\/0\/?/.test(path) && path !== '/phyToLog/0'),
    ['/phyToLog/0/length'],
  );
});

test('a policy module that gives a huge answer is refused', async () => {
  for (const [way, message] of Object.entries({
    rows: /1000000000 layers, not 2/,
    row: /1000000000 entries, not 6/,
    experts: /1000000000, not 4/,
    counts: /1000000000 layers, not 2/,
    slots: /1000000000 slots, not at most 6/,
  })) {
    await withBalancer({ ...sizes, policy: policyUrl(`huge.mjs?${way}`) }, async (balancer) => {
      const before = stateOf(balancer);
      await assert.rejects(balancer.rebalance(loads), refused(message));
      assert.deepEqual(stateOf(balancer), before);
    });
  }
});

test('everything in an answer is read once, and so it is of tables for a mapping of any size', async () => {
  const flat = {
    ...whole,
    phyToLog: Int32Array.from(rows.flat()),
    replicaCount: Int32Array.from(counts.flat()),
  };
  for (const answer of [whole, flat, { phyToLog: rows }]) {
    for (const read of [planOf, async (given: () => unknown) => ExpertMapping.fromJSON(given())]) {
      const reads: string[] = [];
      const mapping = await read(() => watched(answer, reads));
      assert.deepEqual(mapping.toJSON().phyToLog, rows);
      if (answer !== whole)
        assert.deepEqual(mapping.getPhysicalExperts(1, 1), 'logToPhy' in answer ? [5, 2, 4] : [2, 4, 5]);
      assert.ok(reads.length > 0);
      assert.deepEqual(reads, [...new Set(reads)]);
    }
  }
});

test('an answer that gives other values at every read is what it gave at the first', async () => {
  /** A row of which all entries, and the length, change once they are read. */
  const changing = (row: readonly number[]) => {
    const asked = new Set<PropertyKey>();
    return new Proxy([...row], {
      get(target, key) {
        if (asked.has(key)) return 99;
        asked.add(key);
        return Reflect.get(target, key);
      },
    });
  };
  let numAsked = 0;
  const answer = {
    get phyToLog() {
      return numAsked++ === 0 ? changing(rows.map(changing) as never) : undefined;
    },
  };
  assert.deepEqual((await planOf(() => answer)).toJSON().phyToLog, rows);
  assert.equal(numAsked, 1);
});

test('a table that grows while it is read comes to an end', () => {
  let length = 2;
  const growing = new Proxy([], { get: (_, key) => (key === 'length' ? length++ : [0, 1]) });
  assert.equal(ExpertMapping.fromJSON({ phyToLog: growing }).numLayers, 2);
});

/** A typed array whose own methods and length are not what they should be, and which keeps what it makes. */
function sly(values: readonly number[], length: number): { table: Int32Array; made: Int32Array[] } {
  const made: Int32Array[] = [];
  class Sly extends Int32Array {
    static get [Symbol.species](): Int32ArrayConstructor {
      const make = (size: number) => {
        const array = new Int32Array(size);
        made.push(array);
        return array;
      };
      return function construct(size: number) {
        return make(size);
      } as unknown as Int32ArrayConstructor;
    }
  }
  const table = Sly.from(values) as Int32Array;
  Object.defineProperty(table, 'length', { value: length });
  return { table, made };
}

test('a typed table is copied by the library alone, whatever it says of its length', async () => {
  for (const length of [0, 12, 1e9]) {
    const { table, made } = sly(rows.flat(), length);
    const mapping = await planOf(() => ({ phyToLog: table, numLayers: 2 }));
    for (const array of [table, ...made]) array.fill(3);
    assert.deepEqual(mapping.toJSON().phyToLog, rows);
    const own = new ExpertMapping({ phyToLog: sly(rows.flat(), length).table, numLayers: 2 });
    assert.deepEqual(own.toJSON().phyToLog, rows);
    const beside = { ...whole, replicaCount: sly(counts.flat(), length).table };
    assert.deepEqual(new ExpertMapping(beside).toJSON().replicaCount, counts);
  }
  const longer = { phyToLog: sly([...rows.flat(), 0], 12).table, numLayers: 2 };
  await assert.rejects(
    planOf(() => longer),
    refused(/13 slots, not 2 x 6/),
  );
  for (const fake of [Object.create(Int32Array.prototype), new Proxy(new Int32Array(12), {})]) {
    await assert.rejects(
      planOf(() => ({ phyToLog: fake, numLayers: 2 })),
      refused(/"mine"/),
    );
  }
});

test('a mapping of a subclass that tells other sizes than its tables have is refused', async () => {
  class Lying extends ExpertMapping {
    override get numLayers(): number {
      return 2;
    }
  }
  await assert.rejects(
    planOf(() => new Lying({ phyToLog: rows.slice(1) })),
    refused(/1 x 4 x 6.*2 x 4 x 6/),
  );
  await assert.rejects(
    planOf(() => Object.create(ExpertMapping.prototype)),
    refused(/"mine"/),
  );
});

test('what a policy throws may be anything, also what cannot be told in words', async () => {
  const silent = Object.create(null);
  const hostile = Object.defineProperty(new Error(), 'message', {
    get() {
      throw silent;
    },
  });
  for (const thrown of [silent, hostile, Symbol('odd'), { toString: 5 }]) {
    const fail = () => {
      throw thrown;
    };
    await assert.rejects(planOf(fail), refused(/"mine"/));
  }
  const nameless = Object.defineProperty(new Answering(() => ({ phyToLog: rows })), 'name', {
    get: () => assert.fail('no name'),
  });
  const plan = withBalancer({ ...sizes, policy: nameless }, (balancer) => balancer.plan(loads));
  await assert.rejects(plan, refused(/policy.*no name/));
});

test('a policy may answer with a mapping of another copy of the library, here and pooled', async () => {
  await inTempDir(async (dir) => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    await cp(join(root, 'dist'), join(dir, 'dist'), { recursive: true });
    await cp(join(root, 'package.json'), join(dir, 'package.json'));
    await symlink(join(root, 'node_modules'), join(dir, 'node_modules'));
    const other: { ExpertMapping: typeof ExpertMapping } = await import(
      pathToFileURL(join(dir, 'dist/index.js')).href
    );
    assert.notEqual(other.ExpertMapping, ExpertMapping);
    const text = `
      import { ExpertMapping } from './dist/index.js';
      export const policy = {
        name: 'other',
        rebalanceExperts: () => new ExpertMapping(${JSON.stringify(whole)}),
      };`;
    await writeFile(join(dir, 'policy.mjs'), text);
    const policies = [
      new Answering(() => new other.ExpertMapping(whole)),
      pathToFileURL(join(dir, 'policy.mjs')),
    ];
    for (const policy of policies) {
      await using balancer = new ExpertLoadBalancer({ ...sizes, policy });
      const mapping = await balancer.rebalance(loads);
      assert.ok(mapping instanceof ExpertMapping);
      assert.equal(balancer.mapping, mapping);
      assert.deepEqual(mapping.toJSON(), new ExpertMapping(whole).toJSON());
      assert.deepEqual(mapping.getPhysicalExperts(0, 0), [4, 0]);
    }
    const small = new Answering(() => new other.ExpertMapping({ phyToLog: rows.slice(1) }));
    const plan = withBalancer({ ...sizes, policy: small }, (balancer) => balancer.plan(loads));
    await assert.rejects(plan, refused(/numLayers: 1, not 2/));
  });
});

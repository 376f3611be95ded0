/** The record in etcd: what is written once, what is not written any more, and what is left of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { initialMapping } from '../../src/mapping/initial-mapping.ts';
import { EtcdClient } from '../../src/serve/cluster/etcd-client.ts';
import { EtcdKeeper } from '../../src/serve/cluster/etcd-keeper.ts';
import { readEtcdOptions } from '../../src/serve/cluster/etcd-settings.ts';
import { EtcdFaultJournal } from '../../src/serve/cluster/fault-journal.ts';
import { Leadership, leaderOf } from '../../src/serve/cluster/leadership.ts';
import { ReadModel } from '../../src/serve/cluster/read-model.ts';
import { RecordKeys } from '../../src/serve/cluster/record-keys.ts';
import { PART_BYTES, packRecord, unpackRecord } from '../../src/serve/cluster/record-parts.ts';
import { readDeclaration } from '../../src/serve/declaration.ts';
import { afterRecord, type SavedGroup, type StateRecord } from '../../src/serve/group-store.ts';
import { mappingRecord } from '../../src/serve/mapping-record.ts';
import { seededRandom } from '../helpers/arbitraries.ts';
import { inTempDir } from '../helpers/cli.ts';
import { Etcd, Link, SKIPS_WITHOUT_ETCD } from '../helpers/etcd.ts';

const SKIP = { skip: SKIPS_WITHOUT_ETCD };
const { declaration, topology } = readDeclaration({
  ...{ numLayers: 2, numLogicalExperts: 4, numPhysicalExperts: 6, numRanks: 2 },
});
const TABLE = mappingRecord(initialMapping(topology));

const MOST_LOOKS = 1500;

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let i = 0; i < MOST_LOOKS; i++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`not within ${MOST_LOOKS} looks: ${what}`);
}

/** Sides and links that the test has opened. */
const opened: { close(): Promise<void> }[] = [];

/** A service's side of the record, without the service: it takes the lead if nobody has it. */
async function openSide(url: string, leaseSeconds = 1) {
  const settings = readEtcdOptions({ urls: [url], leaseSeconds });
  const client = await EtcdClient.open(settings);
  const keys = new RecordKeys(settings.prefix);
  const model = new ReadModel(client, keys);
  const terms: number[] = [];
  const ended: string[] = [];
  const leadership = new Leadership(client, keys.leader, settings.leaseSeconds, {
    began: (term) => terms.push(term),
    ended: (reason) => ended.push(reason),
  });
  const look = async (leader = model.leader) => {
    await leadership.look(leader, 'http://127.0.0.1:1');
  };
  await model.fresh();
  await look();
  const failures: string[] = [];
  const host = {
    client,
    keys,
    model,
    leadership,
    term: terms[0]!,
    failed: (own: string) => failures.push(own),
  };
  const keeper = new EtcdKeeper(host, 'g');
  const faults = new EtcdFaultJournal(host);
  await model.fresh();
  await keeper.read();
  let state: SavedGroup | undefined;
  opened.push({
    async close() {
      await leadership.resign('the test ends', Number.POSITIVE_INFINITY);
      client.close();
    },
  });
  return {
    ...{ client, keys, model, leadership, keeper, faults, terms, ended, failures, look },
    get state() {
      return state;
    },
    async append(record: StateRecord): Promise<void> {
      const before = state;
      await keeper.append(record, () => before!);
      state = afterRecord(state, record);
    },
  };
}

async function openLink(etcd: Etcd): Promise<Link> {
  const link = await Link.to(etcd.urls[0]!);
  opened.push(link);
  return link;
}

async function withEtcd(work: (etcd: Etcd) => Promise<void>): Promise<void> {
  await inTempDir(async (folder) => {
    const etcd = await Etcd.start(folder);
    try {
      await work(etcd);
    } finally {
      for (const side of opened.splice(0)) await side.close();
      await etcd.stop();
    }
  });
}

const group: StateRecord = { kind: 'group', declaration };
const mode = (paused: boolean): StateRecord => ({ kind: 'mode', paused, dryRun: false });
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    ({ code }) => code,
  );
const LEADER = { key: Buffer.from('/eplb/.leader').toString('base64') };
const leaderIn = async ({ client }: { client: EtcdClient }) =>
  leaderOf((await client.range(LEADER)).kvs![0])!;
const removeLeader = ({ client }: { client: EtcdClient }) =>
  client.txn({ compare: [], success: [{ request_delete_range: LEADER }] });
/** As it is written and read. */
const plain = <T>(value: T): T => value && JSON.parse(JSON.stringify(value));
const headIn = async (etcd: Etcd) => JSON.parse((await etcd.keys('/eplb/.groups/')).get('/eplb/.groups/g')!);

test('a former leader writes nothing, though its own clock says that it leads', SKIP, () =>
  withEtcd(async (etcd) => {
    const former = await openSide(etcd.urls[0]!);
    await former.append(group);
    // As if it had been silent while the process was stopped: it has not looked at the clock since.
    await removeLeader(former);
    const next = await openSide(etcd.urls[0]!);
    assert.ok(next.terms[0]! > former.terms[0]!);
    assert.equal(former.leadership.term, former.terms[0], 'it does not know yet');
    const before = await etcd.keys('/eplb/');
    for (const record of [mode(true), { kind: 'live', epoch: 1, table: TABLE } as const]) {
      assert.equal(await codeOf(former.append(record)), 'EPLB_NO_LEADER');
    }
    assert.equal(await codeOf(former.keeper.remove()), 'EPLB_NO_LEADER');
    assert.equal(await codeOf(former.faults.append({ kind: 'recovered' })), 'EPLB_NO_LEADER');
    assert.deepEqual(await etcd.keys('/eplb/'), before);
    assert.equal(former.failures.length, 3);
    // The next one goes on from what was acknowledged.
    assert.equal(next.model.groups.get('g')!.head.next, 1);
    await next.keeper.append(mode(true), () => former.state!);
    await former.model.fresh();
    assert.equal(former.model.groups.get('g')!.saved.paused, true);
  }),
);

test('a leader that is silent for a lease is followed by one of those that saw it', SKIP, () =>
  withEtcd(async (etcd) => {
    // It says nothing of itself for as long as this takes.
    const silent = await openSide(etcd.urls[0]!, 3600);
    await silent.append(group);
    const [one, other] = [await openSide(etcd.urls[0]!), await openSide(etcd.urls[0]!)];
    const sides = [one, other];
    assert.deepEqual([one.terms, other.terms], [[], []], 'it was seen for the first time');
    const seen = silent.leadership.id;
    for (let i = 0; i < MOST_LOOKS && one.model.leader?.id === seen; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await Promise.all(sides.map((side) => side.look()));
      await Promise.all(sides.map((side) => side.model.fresh()));
    }
    const [term, ...more] = sides.flatMap(({ terms }) => terms);
    assert.deepEqual(more, [], 'one of them leads, once');
    assert.ok(term! > silent.terms[0]!);
    for (const { model } of sides) assert.equal(model.leader?.term, term);
    assert.equal(silent.leadership.term, silent.terms[0], 'it does not know yet');
    assert.equal(await codeOf(silent.append(mode(true))), 'EPLB_NO_LEADER');
  }),
);

test('a leader that was heard since stays, however long the one that looks was stopped', SKIP, () =>
  withEtcd(async (etcd) => {
    const leader = await openSide(etcd.urls[0]!);
    const stopped = await openSide(etcd.urls[0]!);
    const before = stopped.model.leader!;
    // It wakes up with what it saw then, and is not told what was heard since.
    await until('another beat', async () => (await leaderIn(leader)).beat > before.beat);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await stopped.look(before);
    assert.deepEqual([stopped.terms, leader.ended], [[], []]);
    assert.equal((await leaderIn(leader)).term, leader.terms[0]);
    await leader.append(group);
  }),
);

test('a leader that could not be heard finds its own key, and leads in another term', SKIP, () =>
  withEtcd(async (etcd) => {
    const link = await openLink(etcd);
    const side = await openSide(link.url);
    link.cut();
    await until('it leads no more', () => side.ended.length === 1);
    assert.match(side.ended[0]!, /lease has run out/);
    link.heal();
    await side.model.fresh();
    assert.equal(side.model.leader!.id, side.leadership.id);
    await side.look();
    assert.equal(side.terms.length, 2);
    assert.equal((await leaderIn(side)).term, side.terms[1]);
    // One that is removed hears of it by its next beat, and whoever resigns leaves no key.
    await removeLeader(side);
    await until('it leads no more', () => side.ended.length === 2);
    assert.match(side.ended[1]!, /took it for silent/);
    await side.model.fresh();
    await side.look();
    // One that resigns leaves no key, not even that of a campaign which is under way.
    await side.leadership.resign('it has to', 0);
    assert.equal((await etcd.keys('/eplb/')).size, 0);
    await side.model.fresh();
    const campaign = side.look();
    await side.leadership.resign('it has to', Number.POSITIVE_INFINITY);
    await campaign;
    assert.equal((await etcd.keys('/eplb/')).size, 0);
    assert.deepEqual([side.terms.length, side.ended.length], [3, 3]);
    const { header } = await side.client.range(LEADER);
    await side.model.fresh();
    await side.look();
    assert.equal((await side.client.range(LEADER)).header.revision, header.revision, 'nothing is written');
  }),
);

test('a beat that is not answered is followed by another one, before it is given up', async (t) => {
  // etcd that does as it is told once, and then says nothing.
  let numHeld = 0;
  let mostHeld = 0;
  let hasLeader = false;
  const server = createServer((request, response) => {
    const isTxn = request.url === '/v3/kv/txn';
    if (isTxn && hasLeader) {
      mostHeld = Math.max(mostHeld, ++numHeld);
      response.once('close', () => numHeld--);
      return;
    }
    hasLeader ||= isTxn;
    response.end(JSON.stringify({ header: { revision: '7' }, succeeded: true }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    for (const own of opened.splice(0)) await own.close();
  });
  const side = await openSide(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  assert.deepEqual(side.terms, [7]);
  await until('it leads no more', () => side.ended.length === 1);
  assert.ok(mostHeld >= 2, `${mostHeld} at one time`);
});

test('an append that nobody heard of is done once', SKIP, () =>
  withEtcd(async (etcd) => {
    const link = await openLink(etcd);
    const side = await openSide(link.url, 4);
    await side.append(group);
    for (const hinder of [() => link.mute(), () => link.drop(), () => link.cut()]) {
      const { next } = await headIn(etcd);
      hinder();
      const appended = side.append({ kind: 'live', epoch: next, table: TABLE });
      const noted = side.faults.append({ kind: 'blocked', reason: String(next) });
      // A mute server has done it by then; the others have not heard of it.
      await new Promise((resolve) => setTimeout(resolve, 300));
      link.heal();
      await Promise.all([appended, noted]);
      assert.equal((await headIn(etcd)).next, next + 1);
    }
    assert.equal(side.state!.epoch, 3);
    await side.model.fresh();
    assert.deepEqual(side.model.groups.get('g')!.saved, side.state);
    // What another one reads of it is the same.
    const other = await openSide(etcd.urls[0]!);
    assert.deepEqual(plain(other.model.groups.get('g')!.saved), plain(side.state));
    const reasons = ['1', '2', '3'].map((reason) => ({ kind: 'blocked', reason }));
    assert.deepEqual(await other.faults.read(), reasons);
    assert.deepEqual([side.failures, side.ended, other.terms], [[], [], []]);
  }),
);

test('a journal stays short, and mappings that no record names are removed', SKIP, () =>
  withEtcd(async (etcd) => {
    const side = await openSide(etcd.urls[0]!);
    const reader = await openSide(etcd.urls[0]!);
    await side.append(group);
    const random = seededRandom(5);
    const table = (seed: number) => ({
      ...TABLE,
      phyToLog: Buffer.from([seed, seed >> 8]).toString('base64'),
    });
    let numParts = 0;
    for (let i = 0; i < 270; i++) {
      const plan = { kind: 'live', epoch: i, table: table(i) } as const;
      await side.append(random() < 0.2 ? plan : mode(i % 2 === 0));
      if (i !== 250) continue;
      numParts = (await etcd.keys('/eplb/g/parts/')).size;
      // One that has read up to here goes on, and one that has read nothing begins with what is left.
      await readOf(reader);
    }
    const { first, next } = await headIn(etcd);
    assert.ok(next === 272 && first > 250, `from ${first} to ${next}`);
    const journal = await etcd.keys('/eplb/g/journal/');
    assert.equal(journal.size, next - first);
    const kept = (await etcd.keys('/eplb/g/parts/')).size;
    assert.ok(kept < 10 && numParts > 30, `${kept} parts after ${numParts}`);
    const whole = JSON.parse([...journal.values()][0]!);
    assert.equal(whole.kind, 'whole');
    assert.deepEqual(await readOf(reader), plain(side.state));
    const late = await openSide(etcd.urls[0]!);
    assert.deepEqual(await readOf(late), plain(side.state));
    await side.keeper.remove();
    assert.equal(await readOf(late), undefined);
    assert.deepEqual([...(await etcd.keys('/eplb/')).keys()], ['/eplb/.leader']);
  }),
);

/** What a side has read; the mappings that these records name are none, and nobody asks for them. */
async function readOf(side: Awaited<ReturnType<typeof openSide>>): Promise<SavedGroup | undefined> {
  await side.model.fresh();
  return plain(side.model.groups.get('g')?.saved);
}

const tables = fc.record({
  numLayers: fc.integer(),
  numLogicalExperts: fc.integer(),
  phyToLog: fc.base64String({ maxLength: 4000 }),
  logToPhy: fc.base64String({ maxLength: 4000 }),
});
const records = fc.record({
  kind: fc.constantFrom('live', 'whole'),
  table: fc.option(tables, { nil: null }),
  state: fc.array(fc.oneof(tables, fc.string(), fc.record({ table: tables, name: fc.string() }))),
  long: fc.array(fc.constantFrom('a long text ', 'another text '), { maxLength: 9000 }),
});

test('records come out of their parts as they went in, and damaged parts are found', async () => {
  await fc.assert(
    fc.asyncProperty(records, fc.nat(), async (given, at) => {
      // As plain data is read, without the prototypes that it was made with.
      const record = JSON.parse(JSON.stringify(given));
      const { text, contents } = await packRecord(record);
      assert.ok(text.length <= 70_000);
      const stored = new Map(contents.map(({ digest, parts }) => [digest, parts]));
      for (const { parts } of contents) for (const part of parts) assert.ok(part.length <= PART_BYTES);
      const read = (digest: string) => Promise.resolve(stored.get(digest) ?? []);
      assert.deepEqual(await unpackRecord(text, read), record);
      if (contents.length === 0) return;
      const own = contents[at % contents.length]!;
      const bytes = Buffer.from(own.parts[0]!);
      bytes[at % bytes.length]! ^= 1 + (at % 255);
      stored.set(own.digest, [bytes, ...own.parts.slice(1)]);
      const damaged = await unpackRecord(text, read).catch((error) => error.code);
      // A change of bits that nothing depends on is none.
      if (damaged !== 'EPLB_FORMAT') assert.deepEqual(damaged, record);
    }),
    { numRuns: 60 },
  );
  const random = seededRandom(1);
  const numbers = Array.from({ length: 400_000 }, () => Math.floor(2 ** 30 * random()));
  const { contents } = await packRecord({ kind: 'whole', numbers });
  assert.ok(contents[0]!.parts.length > 4);
});

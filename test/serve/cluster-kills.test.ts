/** Services that share etcd, while leaders, followers, members of etcd and the links to them fail. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTempDir } from '../helpers/cli.ts';
import { ClusterWorld, LEASE_SECONDS, TROUBLE_KINDS, type Trouble } from '../helpers/cluster-world.ts';
import { violationsOf } from '../helpers/epoch-history.ts';
import { Etcd, SKIPS_WITHOUT_ETCD } from '../helpers/etcd.ts';
import { surviveKills } from '../helpers/killed-service.ts';
import { ask, endProcess, type ServiceProcess, startProcess } from '../helpers/service.ts';

const IS_LONG = process.env.EPLB_LONG_RUNS !== undefined;
const NUM_TROUBLES = Number(process.env.EPLB_CLUSTER_TROUBLES ?? (IS_LONG ? 300 : 4));
/** Troubles between two looks at the history. */
const CHECKED_EVERY = 10;
const NUM_KILLS = IS_LONG ? 150 : 3;
const MOST_LOOKS = 500;
const GROUPS = ['a', 'b'];

test(`${NUM_TROUBLES} times something fails, and epochs go on, once each`, {
  skip: SKIPS_WITHOUT_ETCD,
  timeout: 7_200_000,
}, async (t) => {
  await inTempDir(async (folder) => {
    const world = await ClusterWorld.start(folder, 3, 3);
    const troubles: Trouble[] = [];
    try {
      await world.begin(GROUPS);
      for (let i = 0; i < NUM_TROUBLES; i++) {
        troubles.push(await world.trouble(TROUBLE_KINDS[i % TROUBLE_KINDS.length]!));
        if (i % CHECKED_EVERY !== CHECKED_EVERY - 1) continue;
        assert.deepEqual(violationsOf(world.history), [], `after ${troubles.at(-1)!.kind}, number ${i}`);
        console.log(`# ${i + 1} troubles, ${world.numCommits} commits, ${world.history.length} operations`);
      }
      await world.end(GROUPS);
      assert.deepEqual(violationsOf(world.history), []);
    } finally {
      for (const line of summaryOf(troubles)) t.diagnostic(line);
      const { refused, unanswered } = world.refusals;
      const kinds = [...refused].map(([code, count]) => `${code} ${count}`).join(', ');
      t.diagnostic(`${world.numCommits} commits, ${world.history.length} operations; refused: ${kinds}`);
      t.diagnostic(`${unanswered} unanswered`);
      await world.stop();
    }
  });
});

test(`${NUM_KILLS} kills of services that share etcd leave all ranks at one epoch`, {
  skip: SKIPS_WITHOUT_ETCD,
  timeout: 7_200_000,
}, async () => {
  await inTempDir(async (folder) => {
    const etcd = await Etcd.start(folder);
    const args = ['--listen', '127.0.0.1:0', '--etcd', etcd.urls.join(','), '--etcd-lease', '1'];
    let services = [await startProcess(args), await startProcess(args)];
    let numStarts = 0;
    const start = async () => {
      const isGone = ({ child }: ServiceProcess) => child.exitCode !== null || child.signalCode !== null;
      if (services.some(isGone)) {
        services = [...services.filter((service) => !isGone(service)), await startProcess(args)];
      }
      for (let i = 0; i < MOST_LOOKS; i++) {
        const healths = await Promise.all(services.map(({ address }) => ask(address, 'GET', '/healthz')));
        const leader = healths.findIndex(({ json }) => json.cluster.role === 'leader');
        // Once the leader is asked and killed, once the other one.
        if (leader >= 0) return services[(leader + numStarts++) % 2]!;
        await sleep(20);
      }
      return assert.fail('no service leads');
    };
    try {
      await surviveKills(start, NUM_KILLS);
    } finally {
      for (const service of services) await endProcess(service, 'SIGKILL');
      await etcd.stop();
    }
  });
});

/** Figures by the kind of trouble, in leases. */
function summaryOf(troubles: readonly Trouble[]): string[] {
  const leaseMs = 1000 * LEASE_SECONDS;
  const inLeases = (values: readonly number[]) => {
    const sorted = [...values].sort((a, b) => a - b).map((ms) => (ms / leaseMs).toFixed(2));
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return `median ${at(0.5)}, a tenth over ${at(0.9)}, most ${sorted.at(-1)} leases`;
  };
  return TROUBLE_KINDS.flatMap((kind) => {
    const own = troubles.filter((trouble) => trouble.kind === kind);
    if (own.length === 0) return [];
    const without = own.flatMap(({ leaderlessMs }) => leaderlessMs ?? []);
    const late = own.filter(({ leaderlessMs = 0 }) => leaderlessMs > 2 * leaseMs);
    // Of these, etcd itself took nothing for that long.
    const ofEtcd = late.filter(({ etcdSilentMs }) => etcdSilentMs > 2 * leaseMs).length;
    const leader =
      without.length === 0
        ? `another leader ${own.filter(({ hasNewLeader }) => hasNewLeader).length} times`
        : `another leader after ${inLeases(without)}, ${late.length} times after two (${ofEtcd} by etcd)`;
    const silent = inLeases(own.map(({ etcdSilentMs }) => etcdSilentMs));
    const asBefore = inLeases(own.map(({ stalledMs }) => stalledMs));
    return [`${kind} ${own.length} times; ${leader}; etcd silent ${silent}; all as before: ${asBefore}`];
  });
}

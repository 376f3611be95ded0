/**
 * How many loads one service takes, alone, as the leader of services that share etcd, and through one that
 * forwards: `node bench/cluster-loads.mjs [--seconds 5]`. It needs etcd, and Linux, where processes say how
 * much processor they took: figures are for each second of that, whatever else the machine does meanwhile.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const SIZES = { numLayers: 58, numLogicalExperts: 256, numPhysicalExperts: 288, numRanks: 32 };
const SLOTS_PER_RANK = SIZES.numPhysicalExperts / SIZES.numRanks;
/** What Linux counts processor time in. */
const TICKS_PER_SECOND = 100;

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '5' } } });
const seconds = Number(values.seconds);
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const agent = new Agent({ keepAlive: true });
const children = [];

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function startEtcd(folder) {
  const [client, peer] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`);
  const child = spawn(
    '/usr/bin/etcd',
    [
      ...['--data-dir', join(folder, 'etcd'), '--log-level', 'error', '--logger', 'zap'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', `default=${peer}`],
    ],
    { stdio: 'ignore' },
  );
  children.push(child);
  for (;;) {
    const answer = await fetch(`${client}/health`).catch(() => undefined);
    if (answer?.ok) return client;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function startService(args) {
  const limits = { maxRequestsPerSecond: 1_000_000 };
  const file = join(folder, `limits-${children.length}.yaml`);
  await writeFile(file, JSON.stringify({ limits }));
  const child = spawn(
    process.execPath,
    [cli, 'serve', '--config', file, '--listen', '127.0.0.1:0', ...args],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  children.push(child);
  const [address] = await once(createInterface(child.stdout), 'line');
  return { address, pid: child.pid };
}

async function ask(address, method, path, body, type = 'application/json') {
  const options = { method, agent, headers: body ? { 'content-type': type } : {} };
  const asked = request(address + path, options).end(body);
  const [response] = await once(asked, 'response');
  const parts = [];
  for await (const part of response) parts.push(part);
  const text = Buffer.concat(parts).toString();
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${text}`);
  return text;
}

/** Seconds of processor that a process has taken. */
async function processorSeconds(pid) {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Loads in bytes: kind 3 of slots, kind 2 of experts. */
function loadBytes(kind, width) {
  const { numLayers, numLogicalExperts } = SIZES;
  const bytes = Buffer.alloc(20 + 4 * numLayers * width);
  bytes.write('EPLB');
  const slots = kind === 3 ? width : SIZES.numPhysicalExperts;
  for (const [i, word] of [kind, numLayers, slots, numLogicalExperts].entries()) {
    bytes.writeUInt32LE(word, 4 + 4 * i);
  }
  for (let i = 0; i < numLayers * width; i++) bytes.writeFloatLE(1 + ((i * 7) % 13), 20 + 4 * i);
  return bytes;
}

const OF_RANK = loadBytes(3, SLOTS_PER_RANK);
const OF_ALL = loadBytes(2, SIZES.numLogicalExperts);
const TYPE = 'application/octet-stream';
let step = 0;

/** A step's loads, of each rank by itself, or of all in one. */
async function report(address, isByRank) {
  step++;
  const path = `/v1/groups/g/loads?step=${step}&epoch=0`;
  if (!isByRank) return ask(address, 'POST', path, OF_ALL, TYPE);
  const ranks = Array.from({ length: SIZES.numRanks }, (_, rank) => rank);
  return Promise.all(ranks.map((rank) => ask(address, 'POST', `${path}&rank=${rank}`, OF_RANK, TYPE)));
}

async function measure(title, address, processes, isByRank) {
  for (let i = 0; i < 50; i++) await report(address, isByRank);
  const before = await Promise.all(processes.map(({ pid }) => processorSeconds(pid)));
  const until = performance.now() + 1000 * seconds;
  let steps = 0;
  for (; performance.now() < until; steps++) await report(address, isByRank);
  const after = await Promise.all(processes.map(({ pid }) => processorSeconds(pid)));
  const figures = processes.map(({ name }, i) => {
    const perSecond = steps / (after[i] - before[i]);
    const all = perSecond * SIZES.numRanks * SIZES.numLayers;
    return `${name} ${perSecond.toFixed(0)} steps, ${(all / 1e6).toFixed(2)} million ranks x layers x steps`;
  });
  console.log(`${title}: for each second of processor: ${figures.join('; ')}`);
}

const folder = await mkdtemp(join(tmpdir(), 'eplb-bench-'));
try {
  const alone = await startService([]);
  const url = await startEtcd(folder);
  const leader = await startService(['--etcd', url]);
  const follower = await startService(['--etcd', url]);
  for (const { address } of [alone, follower]) {
    await ask(address, 'PUT', '/v1/groups/g', JSON.stringify(SIZES));
  }
  const [one, own, other] = [
    { ...alone, name: 'the service' },
    { ...leader, name: 'the leader' },
    { ...follower, name: 'the other service' },
  ];
  for (const isByRank of [true, false]) {
    const what = isByRank ? 'each rank reports its slots' : 'one reports all experts';
    await measure(`alone, ${what}`, one.address, [one], isByRank);
    await measure(`to the leader, ${what}`, own.address, [own], isByRank);
    await measure(`through another service, ${what}`, other.address, [own, other], isByRank);
  }
} finally {
  agent.destroy();
  for (const child of children.reverse()) {
    child.kill();
    await once(child, 'close');
  }
  await rm(folder, { recursive: true, force: true });
}

/** Real etcd on loopback, and links to it that can be delayed, stopped and cut. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const ETCD = '/usr/bin/etcd';

/** Whether etcd is here. It has to be where NEED_ETCD is set. */
function hasEtcd(): boolean {
  if (existsSync(ETCD)) return true;
  assert.equal(process.env.NEED_ETCD, undefined, 'etcd has to be here');
  return false;
}

/** What a test says that is skipped without etcd. */
export const SKIPS_WITHOUT_ETCD = hasEtcd() ? false : 'etcd is not installed';

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  server.close();
  await once(server, 'close');
  return address.port;
}

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly args: readonly string[];
  child: ChildProcess | undefined;
  said: string;
}

/** A key, and the revision that it was made at. */
export interface NewestKey {
  readonly text: string;
  readonly createRevision: number;
}

/** What members answer, as far as it is used. */
interface Answered {
  readonly header: { readonly revision: string; readonly member_id: string };
  readonly leader?: string;
  readonly kvs?: readonly { readonly value: string; readonly create_revision: string }[];
}

/** @returns undefined when the member does not answer soon */
async function post(url: string, path: string, body: object): Promise<Answered | undefined> {
  try {
    const options = { method: 'POST', body: JSON.stringify(body), signal: AbortSignal.timeout(300) };
    const answer = await fetch(`${url}/v3/${path}`, options);
    return answer.status === 200 ? ((await answer.json()) as Answered) : undefined;
  } catch {
    return undefined;
  }
}

/** One or more members of etcd, each a process with a folder of its own. */
export class Etcd {
  readonly #members: readonly Member[];

  private constructor(members: readonly Member[]) {
    this.#members = members;
  }

  /** @param more arguments of each member */
  static async start(folder: string, count = 1, more: readonly string[] = []): Promise<Etcd> {
    const ports = await Promise.all(
      Array.from({ length: count }, () => Promise.all([freePort(), freePort()])),
    );
    const peers = ports.map(([, peer], i) => `m${i}=http://127.0.0.1:${peer}`).join(',');
    const members = ports.map(([client, peer], i): Member => {
      const scheme = more.includes('--cert-file') ? 'https' : 'http';
      const clientUrl = `${scheme}://127.0.0.1:${client}`;
      const peerUrl = `http://127.0.0.1:${peer}`;
      return {
        ...{ name: `m${i}`, clientUrl, child: undefined, said: '' },
        args: [
          ...['--name', `m${i}`, '--data-dir', join(folder, `m${i}`)],
          ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
          ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
          ...['--initial-cluster', peers, '--logger', 'zap', '--log-level', 'error'],
          // So that it grants leases of one second.
          ...['--heartbeat-interval', '50', '--election-timeout', '500'],
          ...more,
        ],
      };
    });
    const etcd = new Etcd(members);
    for (const member of members.keys()) etcd.startMember(member);
    await etcd.untilReady();
    return etcd;
  }

  get urls(): readonly string[] {
    return this.#members.map(({ clientUrl }) => clientUrl);
  }

  startMember(index: number): void {
    const member = this.#members[index]!;
    const child = spawn(ETCD, member.args, { stdio: ['ignore', 'ignore', 'pipe'] });
    member.child = child;
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      member.said = (member.said + text).slice(-2000);
    });
  }

  signal(index: number, signal: NodeJS.Signals): void {
    this.#members[index]!.child!.kill(signal);
  }

  async killMember(index: number): Promise<void> {
    const { child } = this.#members[index]!;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  }

  /** Waits until a majority answers. */
  async untilReady(): Promise<void> {
    for (let i = 0; i < 400; i++) {
      for (const { clientUrl } of this.#members) {
        if (clientUrl.startsWith('https:')) {
          // Its certificate is nobody's business here: the port is open once it serves.
          const socket = connect(Number(new URL(clientUrl).port), '127.0.0.1');
          const isOpen = await Promise.race([
            once(socket, 'connect').then(() => true),
            once(socket, 'error').then(() => false),
          ]).catch(() => false);
          socket.destroy();
          if (isOpen) return;
          continue;
        }
        const answer = await fetch(`${clientUrl}/v3/kv/range`, {
          method: 'POST',
          body: JSON.stringify({ key: Buffer.from('x').toString('base64') }),
          signal: AbortSignal.timeout(1000),
        }).catch(() => undefined);
        if (answer?.status === 200) return;
      }
      await sleep(50);
    }
    assert.fail(`etcd does not answer: ${this.#members.map(({ said }) => said).join('\n')}`);
  }

  /** A key as the member has it that is furthest: no member is waited for that elects. */
  async newest(key: string): Promise<NewestKey | undefined> {
    const body = { key: Buffer.from(key).toString('base64'), serializable: true };
    const found = await Promise.all(this.urls.map((url) => post(url, 'kv/range', body)));
    const [furthest] = found
      .flatMap((own) => own ?? [])
      .sort((a, b) => Number(b.header.revision) - Number(a.header.revision));
    const kv = furthest?.kvs?.[0];
    if (kv === undefined) return undefined;
    const text = Buffer.from(kv.value, 'base64').toString('utf8');
    return { text, createRevision: Number(kv.create_revision) };
  }

  /** Which member leads, as far as one knows. */
  async leader(): Promise<number> {
    for (let i = 0; i < 400; i++) {
      const found = await Promise.all(this.urls.map((url) => post(url, 'maintenance/status', {})));
      const leader = found.findIndex(
        (own) => own?.leader !== undefined && own.leader === own.header.member_id,
      );
      if (leader >= 0) return leader;
      await sleep(20);
    }
    return assert.fail('no member of etcd leads');
  }

  /** All keys under a prefix, with values as text. */
  async keys(prefix: string): Promise<Map<string, string>> {
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
    for (const url of this.urls) {
      const answer = await fetch(`${url}/v3/kv/range`, {
        method: 'POST',
        body: JSON.stringify({ key: base64(prefix), range_end: base64(end) }),
        signal: AbortSignal.timeout(3000),
      }).catch(() => undefined);
      if (answer?.status !== 200) continue;
      const { kvs = [] } = (await answer.json()) as { kvs?: { key: string; value?: string }[] };
      const text = (own = '') => Buffer.from(own, 'base64').toString('utf8');
      return new Map(kvs.map(({ key, value }) => [text(key), text(value)]));
    }
    return assert.fail('no member of etcd answers');
  }

  async stop(): Promise<void> {
    for (const index of this.#members.keys()) await this.killMember(index);
  }
}

/** A link to a server: everything goes through it, later, never, or not at all. */
export class Link {
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #mode: 'pass' | 'mute' | 'drop' | 'cut' = 'pass';
  #delayMs = 0;
  url = '';

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((client) => this.#join(client));
  }

  static async to(target: string): Promise<Link> {
    const link = new Link(target);
    link.#server.listen(0, '127.0.0.1');
    await once(link.#server, 'listening');
    const address = link.#server.address();
    assert.ok(typeof address === 'object' && address !== null);
    link.url = `${link.#target.protocol}//127.0.0.1:${address.port}`;
    return link;
  }

  /** As before any of the others. */
  heal(): void {
    // What was dropped is missing in the midst of what connections say.
    if (this.#mode === 'drop' || this.#mode === 'mute') this.#destroyAll();
    this.#mode = 'pass';
    this.#delayMs = 0;
  }

  /** Each piece comes so much later. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** The server is asked, and nobody hears what it says. */
  mute(): void {
    this.#mode = 'mute';
  }

  /** Nothing comes any more, and nobody is told. */
  drop(): void {
    this.#mode = 'drop';
  }

  /** Connections end, and none is taken. */
  cut(): void {
    this.#mode = 'cut';
    this.#destroyAll();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#destroyAll();
    await once(this.#server, 'close');
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(client: Socket): void {
    if (this.#mode === 'cut') {
      client.destroy();
      return;
    }
    const server = connect(Number(this.#target.port), this.#target.hostname);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (piece) => this.#pass(piece, to, from === server));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }

  #pass(piece: Buffer, to: Socket, isAnswer: boolean): void {
    if (this.#mode === 'drop' || (this.#mode === 'mute' && isAnswer)) return;
    if (this.#delayMs === 0) to.write(piece);
    else setTimeout(() => to.destroyed || to.write(piece), this.#delayMs);
  }
}

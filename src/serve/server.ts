import { once } from 'node:events';
import { chmod, lstat, readFile, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import process from 'node:process';
import { getRequestListener } from '@hono/node-server';
import { EplbError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { makeApp } from './app.ts';
import { Cluster, type ClusterEvent, type ClusterView } from './cluster/cluster.ts';
import { lockFolder } from './folder-lock.ts';
import { openStateFolder } from './group-store.ts';
import type { GroupView } from './group-view.ts';
import { answerNoRequest, notARequest } from './no-request.ts';
import { PlanningService } from './service.ts';
import {
  isLoopback,
  type ListenAddress,
  readSettings,
  type ServeOptions,
  type ServeSettings,
} from './settings.ts';
import { type FaultJournal, fileOfFaults, type VllmEvent, VllmFaults, type VllmView } from './vllm-faults.ts';

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 75_000;

/** Callbacks of a service, in addition to the channels of `CHANNELS`. */
export interface ServeHooks {
  /** Called with each fault of the service or of the machine, for a line in the log. */
  readonly onFault?: (error: unknown) => void;
  /** Called with what is done about vLLM's engines. */
  readonly onVllm?: (event: VllmEvent) => void;
  /** Called when another service leads, and when etcd stops or starts to answer. */
  readonly onCluster?: (event: ClusterEvent) => void;
  /** Milliseconds that only grow, for the watchdog; by default `performance.now()`. */
  readonly clock?: () => number;
}

/** A service that listens. */
export interface RunningService {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. */
  readonly address: string;
  /** The groups that it has; with `etcd`, only while it leads. */
  groups(): readonly GroupView[];
  /**
   * The state of the removal of vLLM's dead engines; undefined without `vllm`, and while another service
   * leads.
   */
  vllm(): VllmView | undefined;
  /** Its relation to the services that share etcd with it; undefined without `etcd`. */
  cluster(): ClusterView | undefined;
  /**
   * Accepts no more requests, waits for those under way for at most `drainTimeoutMs`, saves the windows, and
   * ends all threads. Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Starts a service: it restores the groups that were kept, declares those of the options, and then listens.
 *
 * @throws EplbTypeError, EplbRangeError for wrong options; EplbError `EPLB_FILE` for an address, a folder or
 *   a file that cannot be used, `EPLB_CONFLICT` for a group that was kept with other content
 * @example
 * ```ts
 * const running = await startService({ listen: '127.0.0.1:0', state: 'eplb-state' });
 * console.log(running.address);
 * await running.close();
 * ```
 */
export async function startService(options: ServeOptions, hooks: ServeHooks = {}): Promise<RunningService> {
  const settings = readSettings(options);
  const { onFault = () => undefined, onVllm = () => undefined, onCluster = () => undefined, clock } = hooks;
  const watchdog = { ...settings.watchdog, ...(clock && { clock }) };
  const { topology, state } = settings;
  const unlock = await lockState(state);
  let service: PlanningService | undefined;
  try {
    const more = { onFault, watchdog, ...(topology && { topology }) };
    service = await PlanningService.open(settings.limits, state, more);
    const cluster = await openCluster(settings, service, { onFault, onVllm, onCluster });
    if (cluster === undefined) {
      for (const [name, group] of Object.entries(settings.groups)) await service.declare(name, group);
    }
    return await listen(settings, service, cluster, { onFault, onVllm, unlock });
  } catch (error) {
    await service?.close().catch(() => undefined);
    await unlock();
    throw error;
  }
}

/** @returns what gives the folder free again @throws EplbError `EPLB_FILE` */
async function lockState(folder: string | undefined): Promise<() => Promise<void>> {
  if (folder === undefined) return async () => {};
  await openStateFolder(folder);
  return lockFolder(folder);
}

/** The services that share etcd with this one. */
async function openCluster(
  settings: ServeSettings,
  service: PlanningService,
  hooks: Required<Pick<ServeHooks, 'onFault' | 'onVllm' | 'onCluster'>>,
): Promise<Cluster | undefined> {
  const { etcd, groups, limits } = settings;
  if (etcd === undefined) return undefined;
  const { onFault, onCluster } = hooks;
  const watchVllm = vllmWatcher(settings, hooks);
  const { maxCacheBytes } = limits;
  return Cluster.open(etcd, { service, groups, watchVllm, maxCacheBytes, onFault, onEvent: onCluster });
}

async function listen(
  settings: ServeSettings,
  service: PlanningService,
  cluster: Cluster | undefined,
  {
    onFault,
    onVllm,
    unlock,
  }: Required<Pick<ServeHooks, 'onFault' | 'onVllm'>> & { readonly unlock: () => Promise<void> },
): Promise<RunningService> {
  const { limits, address, token } = settings;
  let isDraining = false;
  const app = makeApp(service, {
    ...limits,
    token,
    hosts: hostsOf(settings),
    cluster,
    isDraining: () => isDraining,
    onFault,
  });
  const server = await serverFor(settings, app.fetch);
  const unused = followUnused(server);
  server.maxConnections = limits.maxConnections;
  const { state } = settings;
  const watchVllm = vllmWatcher(settings, { onFault, onVllm });
  // With etcd, whoever leads watches them.
  const faults = state === undefined ? undefined : await watchVllm?.(await fileOfFaults(state));
  const at = await bind(server, address, settings.tls !== undefined).catch(async (error) => {
    await faults?.close();
    throw error;
  });
  await cluster?.join(settings.etcd?.advertise ?? at);
  const saving = setInterval(() => {
    service.saveWindows().catch(onFault);
  }, limits.saveIntervalMs);
  saving.unref();
  let closing: Promise<void> | undefined;
  const close = async () => {
    isDraining = true;
    clearInterval(saving);
    service.endStreams();
    await faults?.close();
    await drain(server, unused, limits.drainTimeoutMs);
    // The lead is given up once its groups have written what they had to.
    await service
      .close()
      .finally(() => cluster?.close())
      .finally(unlock);
  };
  return {
    address: at,
    groups: () => service.groups().map((group) => group.view()),
    vllm: () => (cluster === undefined ? faults?.view() : cluster.vllm()),
    cluster: () => cluster?.view(),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** Watches the engines that the settings name, and keeps in the journal what they are told. */
function vllmWatcher(
  { vllm, vllmKey, limits }: ServeSettings,
  { onFault, onVllm }: Required<Pick<ServeHooks, 'onFault' | 'onVllm'>>,
): ((journal: FaultJournal) => Promise<VllmFaults>) | undefined {
  if (vllm === undefined) return undefined;
  const options = { urls: vllm, key: vllmKey, intervalMs: limits.vllmIntervalMs, onFault, onEvent: onVllm };
  return (journal) => VllmFaults.start({ ...options, journal });
}

/** What a request has to be addressed to, where any page of a browser could reach the service. */
function hostsOf({ address, token }: ServeSettings): readonly string[] | undefined {
  if (address.kind === 'unix' || token !== undefined || !isLoopback(address)) return undefined;
  return ['localhost', '127.0.0.1', '[::1]', address.host.toLowerCase()];
}

async function serverFor(
  { tls }: ServeSettings,
  fetch: ReturnType<typeof makeApp>['fetch'],
): Promise<Server> {
  const options = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // It is refused with a code, as all else is.
    requireHostHeader: false,
  };
  const listener = getRequestListener(fetch, { overrideGlobalObjects: false, errorHandler: notARequest });
  if (tls === undefined) return createServer(options, listener).on('clientError', answerNoRequest);
  const [cert, key] = await Promise.all([readPem('tls.cert', tls.cert), readPem('tls.key', tls.key)]);
  try {
    return createTlsServer({ ...options, cert, key }, listener).on('clientError', answerNoRequest);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : cause;
    throw new EplbError('EPLB_FILE', `config.tls: the certificate and its key cannot be used: ${reason}`, {
      cause,
    });
  }
}

async function readPem(field: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `config.${field}: cannot read ${path}: ${fileReason(cause)}`, { cause });
  }
}

/** @returns the address as clients need it */
async function bind(server: Server, address: ListenAddress, isTls: boolean): Promise<string> {
  if (address.kind === 'unix') await removeOldSocket(address.path);
  // Nobody else may connect, not even before its mode is set.
  const mask = address.kind === 'unix' ? process.umask(0o177) : undefined;
  try {
    const listening = once(server, 'listening');
    if (address.kind === 'unix') server.listen(address.path);
    else server.listen(address.port, address.host);
    await listening;
    if (address.kind === 'unix') await chmod(address.path, 0o600);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : cause;
    throw new EplbError('EPLB_FILE', `config.listen: cannot listen: ${reason}`, { cause });
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  if (address.kind === 'unix') return `unix:${address.path}`;
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${isTls ? 'https' : 'http'}://${host}:${port}`;
}

/** Removes a socket that nobody listens on any more, as a killed service leaves it. */
async function removeOldSocket(path: string): Promise<void> {
  // Connecting to any other file is refused as well.
  const isSocket = await lstat(path).then(
    (found) => found.isSocket(),
    () => false,
  );
  if (!isSocket) return;
  const socket = connect(path);
  const code = await new Promise<string | undefined>((resolve) => {
    socket.once('connect', () => resolve(undefined));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  socket.destroy();
  if (code === undefined) {
    throw new EplbError('EPLB_FILE', `config.listen: another service is listening on ${path}`);
  }
  if (code === 'ECONNREFUSED') await unlink(path).catch(() => undefined);
}

/** Connections on which nothing was asked yet: browsers open them ahead. They are not idle to Node. */
function followUnused(server: Server): ReadonlySet<Socket> {
  const unused = new Set<Socket>();
  const opened = (socket: Socket) => {
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  };
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', opened);
  server.on('request', ({ socket }) => unused.delete(socket));
  return unused;
}

/** Ends when all requests under way are answered, or the time is over. */
async function drain(server: Server, unused: ReadonlySet<Socket>, timeoutMs: number): Promise<void> {
  for (const socket of unused) socket.destroy();
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
  // Connections that were answered meanwhile are idle, and would be kept open.
  const looks = setInterval(() => server.closeIdleConnections(), 20);
  await closed;
  clearTimeout(timer);
  clearInterval(looks);
}

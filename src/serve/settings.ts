import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { type TopologyFile, topologyFromJson } from '../formats/topology/topology-json.ts';
import type { WatchdogOptions } from '../watch/watchdog.ts';
import {
  ETCD_SCHEMA,
  type EtcdOptions,
  type EtcdSettings,
  readEtcdOptions,
} from './cluster/etcd-settings.ts';
import {
  checkGroupName,
  DECLARATION_SCHEMA,
  type GroupDeclaration,
  readDeclaration,
  TOPOLOGY_SCHEMA,
} from './declaration.ts';
import { checkSchema, type Schema } from './schema.ts';

/** Limits of a service, and how long it waits. */
export interface ServeLimits {
  /** Bytes of the body of a request. Default 16 MiB. */
  readonly maxBodyBytes?: number;
  /** Requests per second, of all clients together. Default 5,000. */
  readonly maxRequestsPerSecond?: number;
  /** Default 64. */
  readonly maxGroups?: number;
  /** Bytes of the windows and tables of all groups. Default 1 GiB. */
  readonly maxMemoryBytes?: number;
  /** Bytes of answers kept for each group. Default 16 MiB. */
  readonly maxCacheBytes?: number;
  /** Default 1,024. */
  readonly maxConnections?: number;
  /** Event streams of each group. Default 256. */
  readonly maxListeners?: number;
  /** Streams of the dashboard, for all groups together. Default 64. */
  readonly maxWatchers?: number;
  /** Milliseconds within which requests under way have to end when the service is stopped. Default 10,000. */
  readonly drainTimeoutMs?: number;
  /** Milliseconds between two writes of the windows. Default 30,000. */
  readonly saveIntervalMs?: number;
  /** Milliseconds between two checks of vLLM's engines. Default 1,000. */
  readonly vllmIntervalMs?: number;
}

/** Options of a service. */
export interface ServeOptions {
  /** `unix:PATH`, or `HOST:PORT`, where port 0 takes any free port. */
  readonly listen: string;
  /** The folder for the state. Without it, nothing outlives the process. */
  readonly state?: string;
  /** Has to come with every request, except for /healthz and the files of the dashboard's page. */
  readonly token?: string;
  /** PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Allows it to listen off loopback without TLS, or without a token. Default false. */
  readonly insecure?: boolean;
  /**
   * The front ends of vLLM's data-parallel engines, in the order of their ranks: engines that die are
   * removed. Needs `state` or `etcd`.
   */
  readonly vllm?: readonly string[];
  /** vLLM's own `--api-key`. */
  readonly vllmKey?: string;
  /**
   * Shares the groups with other services through etcd, which then holds the only record. Cannot be combined
   * with `state`.
   */
  readonly etcd?: EtcdOptions;
  readonly limits?: ServeLimits;
  /** A description of the devices, for groups that give neither a topology nor properties of ranks. */
  readonly topology?: TopologyFile;
  /** `intervalMs`: default 300,000. */
  readonly watchdog?: Pick<WatchdogOptions, 'intervalMs' | 'patience'>;
  /** Groups declared at the start, by name. */
  readonly groups?: Readonly<Record<string, GroupDeclaration>>;
}

const count = (description: string, minimum = 1, maximum = 2 ** 40): Schema => ({
  type: 'integer',
  minimum,
  maximum,
  description,
});
const text: Schema = { type: 'string', maxLength: 4096 };

/** A configuration: {@link ServeOptions}. */
const SETTINGS_SCHEMA: Schema = {
  type: 'object',
  required: ['listen'],
  properties: {
    listen: text,
    state: text,
    token: text,
    tls: { type: 'object', required: ['cert', 'key'], properties: { cert: text, key: text } },
    insecure: { type: 'boolean' },
    vllm: { type: 'array', items: text },
    vllmKey: text,
    etcd: ETCD_SCHEMA,
    limits: {
      type: 'object',
      properties: {
        maxBodyBytes: count('bytes of a body', 1024, 2 ** 30),
        maxRequestsPerSecond: count('requests a second'),
        maxGroups: count('groups', 1, 10_000),
        maxMemoryBytes: count('bytes of all groups'),
        maxCacheBytes: count('bytes of answers kept for a group', 0),
        maxConnections: count('connections', 1, 1_000_000),
        maxListeners: count('streams of events of a group', 1, 100_000),
        maxWatchers: count('streams of the dashboard', 0, 100_000),
        drainTimeoutMs: count('milliseconds to end', 0, 3_600_000),
        saveIntervalMs: count('milliseconds between savings', 100, 3_600_000),
        vllmIntervalMs: count('milliseconds between looks', 10, 3_600_000),
      },
    },
    topology: TOPOLOGY_SCHEMA,
    watchdog: {
      type: 'object',
      properties: {
        intervalMs: { type: 'number', minimum: 10, maximum: 86_400_000 },
        patience: { type: 'number', minimum: 0, maximum: 1000 },
      },
    },
    groups: { type: 'object', additionalProperties: DECLARATION_SCHEMA },
  },
};

/** Where to listen. */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Options that are checked and complete. */
export interface ServeSettings extends Omit<ServeOptions, 'limits' | 'groups' | 'watchdog' | 'etcd'> {
  readonly etcd?: EtcdSettings;
  readonly address: ListenAddress;
  readonly insecure: boolean;
  readonly limits: Required<ServeLimits>;
  readonly watchdog: Required<Pick<WatchdogOptions, 'intervalMs' | 'patience'>>;
  readonly groups: Readonly<Record<string, GroupDeclaration>>;
}

const LIMITS: Required<ServeLimits> = {
  maxBodyBytes: 16 * 2 ** 20,
  maxRequestsPerSecond: 5000,
  maxGroups: 64,
  maxMemoryBytes: 2 ** 30,
  maxCacheBytes: 16 * 2 ** 20,
  maxConnections: 1024,
  maxListeners: 256,
  maxWatchers: 64,
  drainTimeoutMs: 10_000,
  saveIntervalMs: 30_000,
  vllmIntervalMs: 1000,
};

/** Engines report loads with each rebalance: vLLM every 3,000 steps, if it is not told otherwise. */
const WATCHDOG = { intervalMs: 300_000, patience: 1.5 };

const LEAST_TOKEN = 16;

/**
 * Checks a configuration with its groups, and fills in the defaults.
 *
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError, naming the option that is wrong. Among
 *   others, settings are refused that would let other machines in without a token and TLS
 */
export function readSettings(options: ServeOptions): ServeSettings {
  checkSchema('config', SETTINGS_SCHEMA, options);
  const { limits, watchdog, groups = {}, insecure = false, etcd, ...rest } = options;
  const { token, tls } = rest;
  const address = readAddress(options.listen);
  if (token !== undefined && token.length < LEAST_TOKEN) {
    throw new EplbRangeError('EPLB_RANGE', `config.token: has fewer than ${LEAST_TOKEN} characters`);
  }
  if (address.kind === 'unix' && tls !== undefined) {
    throw new EplbRangeError('EPLB_OPTION', 'config.tls: has no use on a unix socket; leave it out');
  }
  if (!isLoopback(address) && !insecure && (token === undefined || tls === undefined)) {
    const lacks = token === undefined ? (tls === undefined ? 'a token and TLS' : 'a token') : 'TLS';
    throw new EplbRangeError(
      'EPLB_OPTION',
      `config.listen: other machines can reach ${options.listen}: give ${lacks}, or insecure to do without`,
    );
  }
  if (rest.vllm !== undefined) checkVllm(rest.vllm, rest.state ?? etcd);
  if (rest.topology !== undefined) topologyFromJson(rest.topology, 'config.topology');
  for (const [name, group] of Object.entries(groups)) {
    checkGroupName('config.groups', name);
    try {
      readDeclaration(group, rest.topology);
    } catch (error) {
      if (error instanceof Error) error.message = `config.groups.${name}: ${error.message}`;
      throw error;
    }
  }
  return {
    ...{ ...rest, address, insecure, groups },
    ...(etcd && { etcd: checkEtcd(etcd, address, rest) }),
    limits: { ...LIMITS, ...limits },
    watchdog: { ...WATCHDOG, ...watchdog },
  };
}

/** @throws EplbTypeError, EplbRangeError `EPLB_OPTION` */
function checkVllm(urls: readonly string[], kept: unknown): void {
  if (urls.length < 2) {
    throw new EplbRangeError('EPLB_OPTION', 'config.vllm: name the front ends of at least two engines');
  }
  for (const [rank, url] of urls.entries()) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new EplbTypeError(
        'EPLB_OPTION',
        `config.vllm: '${url.slice(0, 200)}', of rank ${rank}, is not an http:// or https:// URL`,
      );
    }
    if (urls.indexOf(url) !== rank) {
      throw new EplbRangeError(
        'EPLB_OPTION',
        `config.vllm: ${url} is given twice; each rank has its own front end`,
      );
    }
  }
  if (kept !== undefined) return;
  throw new EplbRangeError(
    'EPLB_OPTION',
    'config.vllm: needs state or etcd, to keep a record of what was sent',
  );
}

/** @throws EplbTypeError, EplbRangeError `EPLB_OPTION` */
function checkEtcd(
  etcd: EtcdOptions,
  address: ListenAddress,
  { state, listen }: Pick<ServeOptions, 'state' | 'listen'>,
): EtcdSettings {
  const settings = readEtcdOptions(etcd);
  if (state !== undefined) {
    throw new EplbRangeError('EPLB_OPTION', 'config.etcd: keeps all state itself: leave state out');
  }
  const isEverywhere = address.kind === 'tcp' && ['0.0.0.0', '::'].includes(address.host);
  if (settings.advertise === undefined && (address.kind === 'unix' || isEverywhere)) {
    throw new EplbRangeError(
      'EPLB_OPTION',
      `config.etcd.advertise: is missing: other services cannot tell from ${listen} where to reach this one`,
    );
  }
  return settings;
}

/** Whether only this machine gets there. */
export function isLoopback(address: ListenAddress): boolean {
  if (address.kind === 'unix') return true;
  return address.host === 'localhost' || address.host === '::1' || /^127(\.\d{1,3}){3}$/.test(address.host);
}

/** @throws EplbTypeError `EPLB_OPTION`, EplbRangeError `EPLB_RANGE` */
function readAddress(listen: string): ListenAddress {
  if (listen.startsWith('unix:')) {
    const path = listen.slice('unix:'.length);
    // What the system's own address of a socket has room for.
    if (path !== '' && Buffer.byteLength(path) <= 107) return { kind: 'unix', path };
    throw new EplbRangeError(
      'EPLB_RANGE',
      `config.listen: the path of a socket needs 1 to 107 bytes, not ${Buffer.byteLength(path)}`,
    );
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]+)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new EplbTypeError('EPLB_OPTION', `config.listen: '${listen}' is neither unix:PATH nor HOST:PORT`);
  }
  return { kind: 'tcp', host: (match[1] ?? match[2])!, port };
}

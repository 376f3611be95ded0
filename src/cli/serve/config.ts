import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { show } from '../../core/checks.ts';
import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import { checkKnownKeys } from '../../core/known-keys.ts';
import { fileReason } from '../../formats/bytes/file-reason.ts';
import { quotePath } from '../../formats/text.ts';
import { readRulesFile } from '../../formats/topology/read-rules.ts';
import { readTopologyFile } from '../../formats/topology/read-topology.ts';
import type { TopologyFile } from '../../formats/topology/topology-json.ts';
import type { EtcdOptions, ServeOptions } from '../../serve/index.ts';
import { givenBy, type ServeFlags, titleOfFile, VARIABLES } from './option-sources.ts';

/** What flags, variables and a file may say: a service's options, with files in place of secrets. */
interface ServeConfig extends Partial<Omit<ServeOptions, 'token' | 'vllmKey'>> {
  readonly tokenFile?: string;
}

const FILE_NAMES = [
  ...['listen', 'state', 'tokenFile', 'tls', 'insecure', 'vllm', 'etcd'],
  ...['limits', 'watchdog', 'topology', 'groups'],
];
const MOST_BYTES = 2 ** 20;

/**
 * The options of a service: what a flag says, else a variable of the environment, else the file.
 *
 * @throws EplbError `EPLB_FILE`, `EPLB_FORMAT`, EplbTypeError `EPLB_OPTION`, naming the file
 */
export async function serveOptions(flags: ServeFlags, environment: NodeJS.ProcessEnv): Promise<ServeOptions> {
  // An empty variable is one that is not set.
  const variable = (name: keyof typeof VARIABLES) => environment[VARIABLES[name]] || undefined;
  const path = flags.config ?? variable('config');
  const file = path === undefined ? {} : await readConfig(path, titleOfFile(path, flags, environment));
  const listen = flags.listen ?? variable('listen') ?? file.listen ?? defaultListen(environment);
  const state = flags.state ?? variable('state') ?? file.state;
  const cert = flags.tlsCert ?? variable('tlsCert') ?? file.tls?.cert;
  const key = flags.tlsKey ?? variable('tlsKey') ?? file.tls?.key;
  const ofFile = path === undefined ? '' : `${titleOfFile(path, flags, environment)}: tokenFile`;
  const tokenFile = variable('tokenFile') ?? file.tokenFile;
  const title = variable('tokenFile') === undefined ? ofFile : VARIABLES.tokenFile;
  const token = await tokenOf(flags.tokenFile, variable('token'), tokenFile, title);
  const insecure = flags.insecure ?? file.insecure;
  const vllm = (flags.vllm ?? variable('vllm'))?.split(',') ?? file.vllm;
  const vllmKey = variable('vllmKey');
  const from = (options: Parameters<typeof givenBy>[0]) => givenBy(options, flags, environment) ?? '';
  const etcd = etcdOf(flags, variable, from, file.etcd);
  const devices = flags.topology ?? variable('topology');
  const topology = devices === undefined ? file.topology : await contentAt(from(['topology']), devices);
  return {
    listen,
    ...(state === undefined ? {} : { state }),
    ...(token === undefined ? {} : { token }),
    ...(cert === undefined && key === undefined
      ? {}
      : { tls: pairOf(cert, key, from(['tlsCert', 'tlsKey'])) }),
    ...(insecure === undefined ? {} : { insecure }),
    ...(vllm === undefined ? {} : { vllm }),
    ...(vllmKey === undefined ? {} : { vllmKey }),
    ...(etcd === undefined ? {} : { etcd }),
    ...(file.limits === undefined ? {} : { limits: file.limits }),
    ...(topology === undefined ? {} : { topology }),
    ...(file.watchdog === undefined ? {} : { watchdog: file.watchdog }),
    ...(file.groups === undefined ? {} : { groups: file.groups }),
  };
}

/** What of etcd is said anywhere; whether it is enough is found out by the service. */
function etcdOf(
  flags: ServeFlags,
  variable: (name: keyof typeof VARIABLES) => string | undefined,
  from: (options: Parameters<typeof givenBy>[0]) => string,
  file: Partial<EtcdOptions> | undefined,
): EtcdOptions | undefined {
  const urls = (flags.etcd ?? variable('etcd'))?.split(',');
  const advertise = flags.advertise ?? variable('advertise');
  const prefix = flags.etcdPrefix ?? variable('etcdPrefix');
  const lease = flags.etcdLease ?? variable('etcdLease');
  const user = variable('etcdUser');
  const password = variable('etcdPassword');
  const said = {
    ...(urls && { urls }),
    ...(advertise && { advertise }),
    ...(prefix && { prefix }),
    ...(lease && { leaseSeconds: Number(lease) }),
    ...(user && { user }),
    ...(password && { password }),
  };
  if (file === undefined && Object.keys(said).length === 0) return undefined;
  if (urls === undefined && file?.urls === undefined) {
    const given = from(['advertise', 'etcdPrefix', 'etcdLease', 'etcdUser', 'etcdPassword']);
    if (given !== '') throw new EplbTypeError('EPLB_OPTION', `${given}: needs --etcd, the members of etcd`);
  }
  if (lease !== undefined && Number.isNaN(Number(lease))) {
    const message = `${from(['etcdLease'])}: ${show(lease)} is not a whole number of seconds`;
    throw new EplbRangeError('EPLB_NOT_WHOLE', message);
  }
  return { ...file, ...said } as EtcdOptions;
}

function pairOf(
  cert: string | undefined,
  key: string | undefined,
  given: string,
): { cert: string; key: string } {
  if (cert !== undefined && key !== undefined) return { cert, key };
  const missing = key === undefined ? '--tls-key, the key of the certificate' : '--tls-cert, its certificate';
  throw new EplbTypeError('EPLB_OPTION', `${given}: needs ${missing}: give both or neither`);
}

/** A socket that no other user can take the place of. */
export function defaultListen({ XDG_RUNTIME_DIR }: NodeJS.ProcessEnv): string {
  const user = process.getuid?.() ?? 0;
  return `unix:${XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'eplb.sock') : join(tmpdir(), `eplb-${user}.sock`)}`;
}

/** The token: of the flag's file, else of the environment, else of another file, which messages call so. */
export async function tokenOf(
  flag: string | undefined,
  token: string | undefined,
  file: string | undefined,
  titleOfFile = 'EPLB_SERVE_TOKEN_FILE',
): Promise<string | undefined> {
  if (flag === undefined && token !== undefined) return token;
  const path = flag ?? file;
  if (path === undefined) return undefined;
  return (await readText(flag === undefined ? titleOfFile : '--token-file', path)).trim();
}

/** Paths in it are relative to the file. @param name what messages call it */
async function readConfig(path: string, name: string): Promise<ServeConfig> {
  const text = await readText(name.slice(0, name.indexOf(':')), path);
  const { parse } = await import('yaml');
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0, prettyErrors: false, logLevel: 'error' });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EplbRangeError('EPLB_FORMAT', `${name}: is not YAML: ${reason}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EplbTypeError('EPLB_FORMAT', `${name}: is not a map of options`);
  }
  checkKnownKeys(name, value, FILE_NAMES);
  const from = dirname(resolve(path));
  const title = `${name}: `;
  const config: ServeConfig = await withDevices(value, from, title);
  const at = (own: unknown) => (typeof own === 'string' ? resolve(from, own) : own);
  const { state, tokenFile, tls, etcd } = config;
  return {
    ...config,
    ...(await groupsWithFiles(config.groups, from, title)),
    ...(state === undefined ? {} : { state: at(state) as string }),
    ...(tokenFile === undefined ? {} : { tokenFile: at(tokenFile) as string }),
    ...(tls === undefined
      ? {}
      : { tls: { ...tls, cert: at(tls.cert) as string, key: at(tls.key) as string } }),
    ...(typeof etcd?.tls === 'object' &&
      etcd.tls !== null && { etcd: { ...etcd, tls: pathsAt(etcd.tls, at) } }),
  };
}

function pathsAt<T extends object>(paths: T, at: (own: unknown) => unknown): T {
  return Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, at(path)])) as T;
}

/** Something with a topology; where a file is named, with what that holds. */
async function withDevices<T>(own: T, from: string, title: string): Promise<T> {
  if (typeof own !== 'object' || own === null || !('topology' in own)) return own;
  const { topology } = own;
  if (typeof topology !== 'string') return own;
  return { ...own, topology: await contentAt(`${title}topology`, resolve(from, topology)) };
}

/** The same for its rules. */
async function withRules<T>(own: T, from: string, title: string): Promise<T> {
  if (typeof own !== 'object' || own === null || !('rules' in own)) return own;
  const { rules } = own;
  if (typeof rules !== 'string') return own;
  const { content } = await readRulesFile(resolve(from, rules), `${title}rules`);
  return { ...own, rules: content };
}

async function groupsWithFiles(
  groups: ServeConfig['groups'],
  from: string,
  title: string,
): Promise<Pick<ServeConfig, 'groups'>> {
  // What is none is refused with the rest.
  if (typeof groups !== 'object' || groups === null || Array.isArray(groups)) return {};
  const all = Object.entries(groups).map(async ([name, group]) => {
    const own = `${title}groups.${name}.`;
    return [name, await withRules(await withDevices(group, from, own), from, own)] as const;
  });
  return { groups: Object.fromEntries(await Promise.all(all)) };
}

async function contentAt(option: string, path: string): Promise<TopologyFile> {
  return (await readTopologyFile(path, option)).content;
}

async function readText(option: string, path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MOST_BYTES) return bytes.toString('utf8');
  } catch (cause) {
    throw new EplbError('EPLB_FILE', `${option}: cannot read ${quotePath(path)}: ${fileReason(cause)}`, {
      cause,
    });
  }
  throw new EplbError('EPLB_FILE', `${option}: ${quotePath(path)}: has more than ${MOST_BYTES} bytes`);
}

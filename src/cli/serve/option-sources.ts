import { quotePath } from '../../formats/text.ts';
import { flagName } from '../flag-name.ts';

/** Flags of `eplb serve`. */
export interface ServeFlags {
  readonly config?: string;
  readonly listen?: string;
  readonly state?: string;
  readonly tokenFile?: string;
  readonly topology?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: boolean;
  readonly vllm?: string;
  readonly etcd?: string;
  readonly advertise?: string;
  readonly etcdPrefix?: string;
  readonly etcdLease?: string;
  readonly checkConfig?: boolean;
}

/** The variables of the environment, by what they stand for. */
export const VARIABLES = {
  config: 'EPLB_SERVE_CONFIG',
  listen: 'EPLB_SERVE_LISTEN',
  state: 'EPLB_SERVE_STATE',
  tokenFile: 'EPLB_SERVE_TOKEN_FILE',
  token: 'EPLB_SERVE_TOKEN',
  topology: 'EPLB_SERVE_TOPOLOGY',
  tlsCert: 'EPLB_SERVE_TLS_CERT',
  tlsKey: 'EPLB_SERVE_TLS_KEY',
  vllm: 'EPLB_SERVE_VLLM',
  vllmKey: 'EPLB_SERVE_VLLM_KEY',
  etcd: 'EPLB_SERVE_ETCD',
  advertise: 'EPLB_SERVE_ADVERTISE',
  etcdPrefix: 'EPLB_SERVE_ETCD_PREFIX',
  etcdLease: 'EPLB_SERVE_ETCD_LEASE',
  etcdUser: 'EPLB_SERVE_ETCD_USER',
  etcdPassword: 'EPLB_SERVE_ETCD_PASSWORD',
} as const;

type Option = keyof typeof VARIABLES | 'insecure';

/** Where each option of the service comes from, the first that is given; and its name in the file. */
const SOURCES: Readonly<Record<string, { readonly from: readonly Option[]; readonly inFile?: string }>> = {
  listen: { from: ['listen'] },
  state: { from: ['state'] },
  token: { from: ['token', 'tokenFile'], inFile: 'tokenFile' },
  topology: { from: ['topology'] },
  tls: { from: ['tlsCert', 'tlsKey'] },
  'tls.cert': { from: ['tlsCert'] },
  'tls.key': { from: ['tlsKey'] },
  insecure: { from: ['insecure'] },
  vllm: { from: ['vllm'] },
  vllmKey: { from: ['vllmKey'] },
  etcd: { from: ['etcd'] },
  'etcd.urls': { from: ['etcd'] },
  'etcd.advertise': { from: ['advertise'] },
  'etcd.prefix': { from: ['etcdPrefix'] },
  'etcd.leaseSeconds': { from: ['etcdLease'] },
  'etcd.user': { from: ['etcdUser'] },
  'etcd.password': { from: ['etcdPassword'] },
};

/** The flag or variable that gives one of some options; undefined when none does. */
export function givenBy(
  options: readonly Option[],
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
): string | undefined {
  const flag = options.find((option) => option in flags && flags[option as keyof ServeFlags] !== undefined);
  if (flag !== undefined) return flagName(flag);
  // An empty variable is one that is not set.
  const variables = options.flatMap((option) => (option === 'insecure' ? [] : [VARIABLES[option]]));
  return variables.find((variable) => environment[variable]);
}

/** How messages name the configuration file, before what they say of it. */
export function titleOfFile(path: string, flags: ServeFlags, environment: NodeJS.ProcessEnv): string {
  return `${givenBy(['config'], flags, environment) ?? '--config'}: ${quotePath(path)}`;
}

/**
 * What the service says of its option `config.NAME`, said of what the user gave: the flag, the variable of
 * the environment, or the option of the file. Other messages stay as they are.
 */
export function sayingSources(flags: ServeFlags, environment: NodeJS.ProcessEnv): (text: string) => string {
  return (text) => {
    const option = /^config\.([\w.]*\w)/.exec(text)?.[1];
    if (option === undefined) return text;
    const parts = option.split('.');
    const name = [parts.slice(0, 2).join('.'), parts[0]!].find((own) => Object.hasOwn(SOURCES, own));
    const { from, inFile = name } = SOURCES[name ?? ''] ?? { from: [], inFile: option };
    const rest = text.slice(`config.${name ?? option}`.length);
    const given = givenBy(from, flags, environment);
    if (given !== undefined) return given + rest;
    const path = flags.config ?? (environment[VARIABLES.config] || undefined);
    if (path !== undefined) return `${titleOfFile(path, flags, environment)}: ${inFile}${rest}`;
    return (from[0] === undefined ? option : flagName(from[0])) + rest;
  };
}

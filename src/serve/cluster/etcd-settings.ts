import { EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { Schema } from '../schema.ts';

/** Where etcd is, and how the services that share it work together. */
export interface EtcdOptions {
  /** The members' client URLs: `http://` or `https://`. Any member that answers is used. */
  readonly urls: readonly string[];
  /**
   * Where the other services reach this one. By default the address that it listens on; it has to be given
   * for a socket and for `0.0.0.0`, which others cannot reach.
   */
  readonly advertise?: string;
  /** How long a leader without a beat stays the leader, in seconds. Default 5. */
  readonly leaseSeconds?: number;
  /** The prefix of all keys: services with one prefix share their groups. Default `/eplb`. */
  readonly prefix?: string;
  /** For etcd with authentication. */
  readonly user?: string;
  readonly password?: string;
  /**
   * PEM files: the authority that signed etcd's certificates, and this client's own certificate with its key.
   */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

/** Options that are checked and complete. */
export interface EtcdSettings extends EtcdOptions {
  readonly leaseSeconds: number;
  readonly prefix: string;
}

const text: Schema = { type: 'string', maxLength: 4096 };

export const ETCD_SCHEMA: Schema = {
  type: 'object',
  required: ['urls'],
  properties: {
    urls: { type: 'array', items: text },
    advertise: text,
    leaseSeconds: { type: 'integer', minimum: 1, maximum: 3600, description: 'seconds of a lease' },
    prefix: text,
    user: text,
    password: text,
    tls: { type: 'object', properties: { ca: text, cert: text, key: text } },
  },
};

/** @throws EplbTypeError, EplbRangeError `EPLB_OPTION` */
export function readEtcdOptions(options: EtcdOptions): EtcdSettings {
  const { urls, advertise, prefix = '/eplb', leaseSeconds = 5, user, password, tls } = options;
  if (urls.length === 0)
    throw new EplbRangeError('EPLB_OPTION', 'config.etcd.urls: name at least one member');
  for (const url of urls) checkUrl('etcd.urls', url);
  if (advertise !== undefined) checkUrl('etcd.advertise', advertise);
  if (!/^\/[\w.-]+(\/[\w.-]+)*$/.test(prefix)) {
    throw new EplbRangeError(
      'EPLB_OPTION',
      `config.etcd.prefix: '${prefix.slice(0, 200)}' is not a path such as /eplb`,
    );
  }
  if ((user === undefined) !== (password === undefined)) {
    throw new EplbRangeError(
      'EPLB_OPTION',
      'config.etcd: user and password go together: give both or neither',
    );
  }
  if ((tls?.cert === undefined) !== (tls?.key === undefined)) {
    throw new EplbRangeError(
      'EPLB_OPTION',
      'config.etcd.tls: cert and key go together: give both or neither',
    );
  }
  return { ...options, prefix, leaseSeconds };
}

function checkUrl(field: string, url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  // What a URL has beside its origin would be lost without a word.
  if (parsed !== undefined && /^https?:$/.test(parsed.protocol) && url.replace(/\/$/, '') === parsed.origin) {
    return;
  }
  throw new EplbTypeError(
    'EPLB_OPTION',
    `config.${field}: '${url.slice(0, 200)}' is not http(s)://HOST:PORT`,
  );
}

// What etcd's JSON gateway takes and gives, as far as it is used here: numbers of 64 bits are strings, keys
// and values base64, and what is zero or false is left out.

export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision: string;
  readonly mod_revision: string;
}

interface Header {
  readonly revision: string;
}

export interface RangeRequest {
  readonly key: string;
  readonly range_end?: string;
  /** As things were at that revision; at the newest when left out. */
  readonly revision?: string;
  readonly keys_only?: boolean;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs?: readonly KeyValue[];
}

export type Compare =
  | { readonly key: string; readonly target: 'CREATE'; readonly create_revision: string }
  | { readonly key: string; readonly target: 'MOD'; readonly mod_revision: string };

export type Operation =
  | { readonly request_put: { readonly key: string; readonly value: string } }
  | { readonly request_delete_range: { readonly key: string; readonly range_end?: string } }
  | { readonly request_range: RangeRequest };

export interface Txn {
  readonly compare: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly { readonly response_range?: { readonly kvs?: readonly KeyValue[] } }[];
}

export interface WatchResponse {
  readonly canceled?: boolean;
  readonly created?: boolean;
  readonly events?: readonly unknown[];
}

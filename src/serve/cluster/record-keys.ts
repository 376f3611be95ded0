import { base64, endOf } from './etcd-client.ts';

// PREFIX/.leader              who leads; its create revision is the term, and it is put again meanwhile
// PREFIX/.groups/NAME         the head of a group's journal; it is changed by each append
// PREFIX/NAME/journal/NUMBER  what the group promised, one key an append
// PREFIX/NAME/parts/DIGEST/N  mappings, and whatever else is large, in parts
// PREFIX/.vllm                what vLLM's engines were told
//
// No group is called `.leader`, `.groups` or `.vllm`: names begin with a letter or a digit.

/** A range of keys, as etcd takes it. */
export interface KeyRange {
  readonly key: string;
  readonly range_end: string;
}

const ofPrefix = (prefix: string): KeyRange => ({ key: base64(prefix), range_end: base64(endOf(prefix)) });
const padded = (index: number, digits: number) => String(index).padStart(digits, '0');

/** The keys of the record. */
export class RecordKeys {
  readonly leader: string;
  readonly faults: string;
  /** Who leads, and all heads. */
  readonly index: KeyRange;
  readonly indexPrefix: string;
  readonly indexEnd: string;
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.leader = `${prefix}/.leader`;
    this.faults = `${prefix}/.vllm`;
    this.indexPrefix = `${prefix}/.`;
    this.indexEnd = endOf(this.indexPrefix);
    this.index = ofPrefix(this.indexPrefix);
  }

  head(name: string): string {
    return `${this.#prefix}/.groups/${name}`;
  }

  /** The group that a key is the head of. */
  nameOf(key: string): string | undefined {
    const begin = this.head('');
    return key.startsWith(begin) ? key.slice(begin.length) : undefined;
  }

  journal(name: string, index: number): string {
    return `${this.#prefix}/${name}/journal/${padded(index, 12)}`;
  }

  /** Appends from `first` up to `next`, which is left out. */
  journalRange(name: string, first: number, next: number): KeyRange {
    return { key: base64(this.journal(name, first)), range_end: base64(this.journal(name, next)) };
  }

  part(name: string, digest: string, index: number): string {
    return `${this.#prefix}/${name}/parts/${digest}/${padded(index, 4)}`;
  }

  parts(name: string, digest?: string): KeyRange {
    return ofPrefix(`${this.#prefix}/${name}/parts/${digest === undefined ? '' : `${digest}/`}`);
  }

  /** The digest of a part's key. */
  digestOf(key: string): string {
    return key.split('/').at(-2)!;
  }

  /** All of a group but its head. */
  all(name: string): KeyRange {
    return ofPrefix(`${this.#prefix}/${name}/`);
  }
}

import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { EplbRangeError } from '../../core/errors.ts';
import { hexSha256 } from '../mapping-record.ts';

// etcd takes 1.5 MB in a request and likes values small, and a mapping may have more. So the tables of
// mappings, and any record that is large all the same, are kept beside the journal, compressed and in parts,
// under the digest of what they hold: the same mapping is written once.

const deflated = promisify<Buffer, { level: number }, Buffer>(deflateRaw);
const inflated = promisify<Buffer, Buffer>(inflateRaw);

/** Bytes of a part. */
export const PART_BYTES = 256 * 1024;
/** A record that has more is kept in parts. */
const MOST_RECORD_TEXT = 64 * 1024;
const DIGEST_DIGITS = 32;

/** Content that is kept in parts, as a record names it. */
interface PartsReference {
  readonly inParts: string;
  readonly parts: number;
}

/** Content and its parts. */
interface Content {
  readonly digest: string;
  readonly parts: readonly Buffer[];
}

/** A record as it is written: its text, and the contents that it names. */
export interface PackedRecord {
  readonly text: string;
  readonly contents: readonly Content[];
}

/** Reads the parts of content, in order. */
type PartsReader = (digest: string, parts: number) => Promise<readonly Buffer[]>;

/** Takes what is large out of a record. */
export async function packRecord(record: unknown): Promise<PackedRecord> {
  const texts = new Map<string, string>();
  const take = (own: string): PartsReference => {
    const digest = hexSha256(own).slice(0, DIGEST_DIGITS);
    texts.set(digest, own);
    return { inParts: digest, parts: 0 };
  };
  const slim = withTables(record, (table) => take(JSON.stringify(table)));
  const contents = new Map<string, Content>();
  const fill = async () => {
    for (const [digest, text] of texts) {
      if (!contents.has(digest)) contents.set(digest, { digest, parts: await partsOf(text) });
    }
  };
  await fill();
  let text = textWithCounts(slim, contents);
  if (text.length > MOST_RECORD_TEXT) {
    const reference = take(text);
    await fill();
    text = textWithCounts(reference, contents);
  }
  return { text, contents: [...contents.values()] };
}

/** The record of a text. @throws EplbRangeError `EPLB_FORMAT` for what was not written so */
export async function unpackRecord(text: string, read: PartsReader): Promise<unknown> {
  let record: unknown = JSON.parse(text);
  if (isReference(record)) record = JSON.parse(await readContent(record, read));
  const tables = new Map<string, unknown>();
  for (const reference of referencesIn(record)) {
    if (tables.has(reference.inParts)) continue;
    tables.set(reference.inParts, JSON.parse(await readContent(reference, read)));
  }
  return replaced(record, (value) => (isReference(value) ? tables.get(value.inParts) : undefined));
}

async function readContent({ inParts, parts }: PartsReference, read: PartsReader): Promise<string> {
  const all = await read(inParts, parts);
  const text = await inflated(Buffer.concat(all)).then(
    (bytes) => bytes.toString('utf8'),
    () => undefined,
  );
  if (text !== undefined && hexSha256(text).slice(0, DIGEST_DIGITS) === inParts) return text;
  throw new EplbRangeError('EPLB_FORMAT', `etcd: the parts of ${inParts} are damaged`);
}

async function partsOf(text: string): Promise<readonly Buffer[]> {
  const bytes = await deflated(Buffer.from(text), { level: 1 });
  const count = Math.ceil(bytes.length / PART_BYTES);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * PART_BYTES, (i + 1) * PART_BYTES));
}

/** How many parts each has is known by now. */
function textWithCounts(record: unknown, contents: ReadonlyMap<string, Content>): string {
  return JSON.stringify(record, (_, value: unknown) =>
    isReference(value) ? { ...value, parts: contents.get(value.inParts)!.parts.length } : value,
  );
}

function isReference(value: unknown): value is PartsReference {
  return typeof value === 'object' && value !== null && 'inParts' in value;
}

function isTable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'phyToLog' in value && 'logToPhy' in value;
}

function withTables(record: unknown, replace: (table: unknown) => PartsReference): unknown {
  return replaced(record, (value) => (isTable(value) ? replace(value) : undefined));
}

function referencesIn(record: unknown): PartsReference[] {
  const found: PartsReference[] = [];
  replaced(record, (value) => {
    if (isReference(value)) found.push(value);
    return undefined;
  });
  return found;
}

/** Plain data with some of its objects replaced by others; what `replace` gives nothing for stays. */
function replaced(value: unknown, replace: (value: object) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const other = replace(value);
  if (other !== undefined) return other;
  if (Array.isArray(value)) return value.map((item) => replaced(item, replace));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, replaced(item, replace)]));
}

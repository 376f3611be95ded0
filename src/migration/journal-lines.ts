import { EplbRangeError } from '../core/errors.ts';
import { sha256 } from '../mapping/snapshot.ts';

// A journal as bytes: a line that names the format, then one line for what was appended at once:
// 16 hexadecimal digits of the SHA-256 of the rest, a space, and the records as a JSON array.

const NEWLINE = 10;
const DIGEST_DIGITS = 16;

/** One append. */
export function journalLine(records: readonly unknown[]): Buffer {
  const text = JSON.stringify(records);
  return Buffer.from(`${digestOf(text)} ${text}\n`);
}

/**
 * Reads a journal. What an append that was cut off by a crash left at its end is not read: no message relied
 * on it, as that append never ended.
 *
 * @param header the line that names the format, with its end
 * @returns the records, and the bytes up to the end of the last whole append
 * @throws EplbRangeError `EPLB_FORMAT` for what no crash leaves: another file, or damage
 */
export function readJournalBytes(
  bytes: Uint8Array,
  header: string,
): {
  readonly records: readonly unknown[];
  readonly wholeBytes: number;
} {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = Buffer.from(header);
  const begin = headerBytes.subarray(0, file.length);
  if (!file.subarray(0, begin.length).equals(begin)) {
    throw new EplbRangeError('EPLB_FORMAT', `journal: does not begin with '${header.trimEnd()}'`);
  }
  // Cut off as it was made.
  if (file.length < headerBytes.length) return { records: [], wholeBytes: 0 };
  const records: unknown[] = [];
  let at = headerBytes.length;
  for (let lineNumber = 2; at < file.length; lineNumber++) {
    const end = file.indexOf(NEWLINE, at);
    const batch = end === -1 ? undefined : recordsOf(file.toString('utf8', at, end));
    if (batch === undefined) {
      if (isTorn(file.subarray(at))) break;
      throw new EplbRangeError('EPLB_FORMAT', `journal: line ${lineNumber} is damaged`);
    }
    for (const record of batch) records.push(record);
    at = end + 1;
  }
  return { records, wholeBytes: at };
}

/** The records of a line without its end, or undefined when it is not what was written. */
function recordsOf(line: string): readonly unknown[] | undefined {
  const text = line.slice(DIGEST_DIGITS + 1);
  if (line !== `${digestOf(text)} ${text}`) return undefined;
  const records: unknown = JSON.parse(text);
  return Array.isArray(records) ? records : undefined;
}

/**
 * Whether these last bytes may be of an append that was cut off: a line without an end, or with blocks that
 * were never written. Those read as zeros, which no line has. A whole line that is wrong is damage: what it
 * said may have been relied on.
 */
function isTorn(tail: Buffer): boolean {
  const end = tail.indexOf(NEWLINE);
  return end === -1 || (end === tail.length - 1 && tail.includes(0));
}

function digestOf(text: string): string {
  const bytes = sha256(Buffer.from(text)).subarray(0, DIGEST_DIGITS / 2);
  return Buffer.from(bytes).toString('hex');
}

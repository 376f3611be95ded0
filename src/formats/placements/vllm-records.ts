import { EplbError } from '../../core/errors.ts';
import { readJson } from '../json/value.ts';

const LINE_FEED = 0x0a;

/** What every record of vLLM's says of itself. */
const TYPE_KEY = Buffer.from('"record_type"');

const MAPPING = 'eplb_initial_mapping';

/** Bytes at the beginning of a file in which its first record has named its type. */
const LOOKED_AT = 1 << 12;

/**
 * The record of a mapping in vLLM's JSON Lines, or undefined when the text is something else. Other
 * records are not looked at.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT when there is none, or when there are several, as of a main and a draft model
 */
export function initialMappingRecord(
  text: Uint8Array,
  name: string,
): { value: unknown; notes: readonly string[] } | undefined {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  if (!bytes.subarray(0, LOOKED_AT).includes(TYPE_KEY)) return undefined;
  const found: { value: unknown; line: number }[] = [];
  let others = 0;
  for (let at = 0, line = 1; at < bytes.length; line++) {
    const feed = bytes.indexOf(LINE_FEED, at);
    const end = feed === -1 ? bytes.length : feed;
    const record = bytes.subarray(at, end);
    at = end + 1;
    if (record.toString('latin1', 0, 64).trim() === '') continue;
    // Those of loads may be long, and are not parsed.
    if (record.includes(`"${MAPPING}"`)) {
      found.push({ value: readJson(record, `${name}: line ${line}`), line });
    } else others++;
  }
  const [first, second] = found;
  if (first === undefined) {
    const what = `its records are of other types than ${MAPPING}`;
    throw new EplbError('EPLB_FORMAT', `${name} holds no placement: ${what}`);
  }
  if (second !== undefined) {
    const what = `${found.length} mappings, in the lines ${first.line} and ${second.line}`;
    throw new EplbError('EPLB_FORMAT', `${name} holds ${what}: keep that of one model`);
  }
  return { value: first.value, notes: others === 0 ? [] : [`${others} records of other types were skipped`] };
}

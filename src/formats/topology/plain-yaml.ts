import { isUtf8 } from 'node:buffer';
import type { Node, Pair } from 'yaml';
import { EplbError, isOwnError } from '../../core/errors.ts';
import { quote } from '../text.ts';

/** As deep as what people write, and some more. */
const MOST_DEPTH = 8;

/** Most bytes: the library takes hundreds of bytes of memory for each, and its time may grow faster. */
export const MOST_YAML_BYTES = 2 ** 16;

/**
 * Reads YAML of maps, lists and scalars, as people write it: without aliases, and no key twice.
 *
 * @returns objects without a prototype, lists, numbers, strings, booleans, null
 * @throws EplbError EPLB_FORMAT
 */
export async function readPlainYaml(bytes: Uint8Array, name: string): Promise<unknown> {
  if (bytes.length > MOST_YAML_BYTES) {
    throw failure(
      name,
      `it has ${bytes.length} bytes; YAML is read up to ${MOST_YAML_BYTES}: write it as JSON`,
    );
  }
  const { parseDocument, isMap, isScalar, isSeq } = await import('yaml');
  const toValue = (node: unknown, place: string, depth: number): unknown => {
    if (node === null) return null;
    if (isScalar(node)) return node.value;
    if (depth > MOST_DEPTH) throw failure(name, `${place}: it is nested more than ${MOST_DEPTH} deep`);
    if (isSeq(node)) {
      return (node.items as (Node | null)[]).map((item, i) => toValue(item, `${place}[${i}]`, depth + 1));
    }
    if (!isMap(node)) throw failure(name, `${place}: an alias is not read: write it out`);
    const map: Record<string, unknown> = Object.create(null);
    for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
      if (!isScalar(key)) throw failure(name, `${place}: a key is not text`);
      const field = String(key.value);
      if (field in map) throw failure(name, `${place}: it has the key ${quote(field)} twice`);
      map[field] = toValue(value, quote(field), depth + 1);
    }
    return map;
  };
  if (!isUtf8(bytes)) throw failure(name, 'it is not UTF-8');
  try {
    const text = new TextDecoder('utf-8').decode(bytes);
    const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
    const problem = document.errors[0];
    if (problem !== undefined) throw failure(name, quote(problem.message, 160));
    return toValue(document.contents, 'the file', 0);
  } catch (cause) {
    if (isOwnError(cause)) throw cause;
    // It is nested so deep that the parser's stack ends.
    const message = `${name}: it cannot be read as YAML: ${quote(String(cause), 160)}`;
    throw new EplbError('EPLB_FORMAT', message, { cause });
  }
}

function failure(name: string, message: string): EplbError {
  return new EplbError('EPLB_FORMAT', `${name}: ${message}`);
}

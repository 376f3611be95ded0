import type { Node, Pair } from 'yaml';
import { quote } from '../text.ts';
import { ROW_NAME, takeRows, yamlError } from './yaml-rows.ts';

/** As deep as a placement's lists and maps are nested, and some more. */
const MOST_DEPTH = 6;

/**
 * Reads YAML that holds maps, scalars and rows of numbers, and lists of them, which is all that
 * placements need. The rows are taken out before the library sees the text: it takes hundreds of bytes
 * for each number, and what is left can be limited. An alias gives what its anchor holds, which PyYAML
 * writes for rows that are one list; of maps and lists of other things there are none, so that nothing
 * can grow by them.
 *
 * @param bytes - the file, UTF-8
 * @param name - the file, for messages
 * @returns objects without a prototype, numbers, strings, booleans, null, and rows of numbers
 * @throws EplbError EPLB_FORMAT
 */
export async function readYaml(bytes: Uint8Array, name: string): Promise<unknown> {
  const { text, rows } = takeRows(bytes, name);
  const { parseDocument, isMap, isScalar, isSeq, isAlias } = await import('yaml');
  const document = parseDocument(text, { uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
  const problem = document.errors[0];
  if (problem !== undefined) throw yamlError(name, quote(problem.message, 160));

  const anchors = new Map<string, unknown>();
  let rowsMet = 0;
  const scalar = (node: unknown, place: string): unknown => {
    if (isAlias(node)) {
      if (anchors.has(node.source)) return anchors.get(node.source);
      throw yamlError(
        name,
        `${place}: the alias ${quote(node.source)} stands for no row or scalar before it`,
      );
    }
    if (node === null) return null;
    if (!isScalar(node))
      throw yamlError(name, `${place} is neither a map, a scalar nor a row of whole numbers`);
    const row = typeof node.value === 'string' ? ROW_NAME.exec(node.value) : null;
    const value = row === null ? node.value : rows[Number(row[1])];
    if (row !== null) rowsMet++;
    if (node.anchor !== undefined) anchors.set(node.anchor, value);
    return value;
  };
  const mapValue = (node: Node | null, place: string, depth: number): unknown => {
    if (depth > MOST_DEPTH && !isScalar(node) && !isAlias(node)) {
      throw yamlError(name, `${place}: maps are nested more than ${MOST_DEPTH} deep`);
    }
    if (isSeq(node)) {
      const items = node.items as (Node | null)[];
      return items.map((item, i) => mapValue(item, `${place}[${i}]`, depth + 1));
    }
    if (!isMap(node)) return scalar(node, place);
    const map: Record<string, unknown> = Object.create(null);
    for (const { key, value } of node.items as Pair<Node, Node | null>[]) {
      const field = String(scalar(key, `a key of ${place}`));
      if (field in map) throw yamlError(name, `${place} has the key ${quote(field)} twice`);
      map[field] = mapValue(value, quote(field), depth + 1);
    }
    return map;
  };
  const root = mapValue(document.contents as Node | null, 'the file', 0);
  // Nothing may be lost on the way, such as a row in the middle of a text.
  if (rowsMet === rows.length) return root;
  throw yamlError(name, `${rows.length} rows of numbers, of which ${rowsMet} stand where one belongs`);
}

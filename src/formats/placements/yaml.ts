import type { Node, Pair } from 'yaml';
import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';

/**
 * Most characters that may be left once the rows of numbers are out. Wide enough for thousands of layers and long
 * comments; text made to be slow takes the library 0.3 s of it.
 */
const MOST_TEXT = 2 ** 15;

/** A row of whole numbers, as `[1, 2]` or as lines of `- 1`. Both patterns meet every character a few times at most. */
const ROWS = /\[[\s\d,-]*\]|(?:\n[ \t]*-[ \t]+-?\d+[ \t\r]*)+/g;
const COMMENTS = /(^|[ \t])#.*$/gm;
const EMPTY_LINES = /\n[ \t\r]*(?=\n)/g;

const ROW_NAME = /^row-of-numbers-(\d+)$/;

/**
 * Reads YAML that holds maps, scalars and rows of numbers, which is all that placements need. The rows are taken out
 * before the library sees the text: it takes 1.4 s and 200 MB for 0.9 MB of numbers, and what is left can be limited.
 * An alias gives what its anchor holds, which PyYAML writes for rows that are one list; of maps there are none, so that
 * nothing can grow by them.
 *
 * @param text - the file
 * @param name - the file, for messages
 * @returns objects without a prototype, numbers, strings, booleans, null, and arrays of numbers
 * @throws EplbError EPLB_FORMAT
 */
export async function readYaml(text: string, name: string): Promise<unknown> {
  const rows: number[][] = [];
  const bare = text.replace(COMMENTS, '').replace(EMPTY_LINES, '');
  const skeleton = bare.replace(ROWS, (row) => {
    rows.push(rowNumbers(row, name));
    return ` row-of-numbers-${rows.length - 1} `;
  });
  if (skeleton.length > MOST_TEXT) {
    throw yamlError(
      name,
      `it has ${skeleton.length} characters beside its rows of numbers; ${MOST_TEXT} are read`,
    );
  }
  const { parseDocument, isMap, isScalar, isAlias } = await import('yaml');
  const document = parseDocument(skeleton, { uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
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
    if (!isMap(node)) return scalar(node, place);
    if (depth > 3) throw yamlError(name, `${place}: maps are nested more than 3 deep`);
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

/** The numbers of a row as it stands in the text. */
function rowNumbers(row: string, name: string): number[] {
  const parts = row.startsWith('[') ? row.slice(1, -1).split(',') : row.split(/\n[ \t]*-[ \t]+/).slice(1);
  if (parts.at(-1)?.trim() === '') parts.pop();
  return parts.map((part) => {
    const digits = part.trim();
    // With zeros in front it would be octal to some readers.
    if (/^-?(0|[1-9]\d*)$/.test(digits)) return Number(digits);
    throw yamlError(name, `${quote(digits)} in a row is no whole number`);
  });
}

function yamlError(name: string, what: string): EplbError {
  return new EplbError('EPLB_FORMAT', `${name}: malformed YAML: ${what}`);
}

import { checkText } from '../../core/checks.ts';
import { EplbError } from '../../core/errors.ts';
import { type InputFile, inputFile } from '../input-file.ts';
import { readJson } from '../json/value.ts';
import { MOST_YAML_BYTES, readPlainYaml } from './plain-yaml.ts';

/** A table of links between many ranks is the largest that it may hold. */
const MOST_JSON_BYTES = 2 ** 25;

/** What a file holds that people write, and what it is called in messages. */
export interface WrittenContent {
  readonly content: unknown;
  readonly name: string;
}

/**
 * Reads a file that people write: YAML, or JSON where the name ends with .json or the content is an object of
 * it.
 *
 * @param field what the file is to the caller, for messages
 * @param what it holds: 'a topology'
 * @throws EplbTypeError `EPLB_KIND` for a path that is not text; EplbError EPLB_FILE, EPLB_FORMAT
 */
export async function readYamlOrJson(path: string, field: string, what: string): Promise<WrittenContent> {
  const file = await inputFile(checkText('path', path), checkText('field', field));
  try {
    return { content: await contentOf(file, what), name: file.name };
  } finally {
    await file.close();
  }
}

async function contentOf(file: InputFile, what: string): Promise<unknown> {
  const isYaml = /^\.ya?ml$/.test(file.extension);
  const isJson = file.extension === '.json' || (!isYaml && isObjectText(await file.head()));
  const most = isJson ? MOST_JSON_BYTES : MOST_YAML_BYTES;
  if (file.contentSize > most) {
    const advice = isJson ? '' : ': write it as JSON';
    const told = `${what} is read up to ${most} bytes${advice}`;
    throw new EplbError('EPLB_FORMAT', `${file.name} has ${file.contentSize} bytes; ${told}`);
  }
  const bytes = await file.whole(most, what);
  return isJson ? readJson(bytes, file.name) : readPlainYaml(bytes, file.name);
}

/** Whether it begins as a JSON object does. */
function isObjectText(head: Uint8Array): boolean {
  return /^\uFEFF?\s*\{\s*["}]/.test(new TextDecoder().decode(head.subarray(0, 1024)));
}

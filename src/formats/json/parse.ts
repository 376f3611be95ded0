import { constants } from 'node:buffer';
import { EplbError } from '../../core/errors.ts';
import { quote } from '../text.ts';

/**
 * Parses JSON, with malformed text as an error of ours. What it gives is only ever looked at through {@link ownValue} or
 * by index: a key `__proto__` is a key like others.
 *
 * @param name - the file, for messages
 * @throws EplbError EPLB_FORMAT
 */
export function parseJson(bytes: Uint8Array, name: string): unknown {
  return parseJsonText(jsonText(bytes, name), name);
}

/** {@link parseJson} of a text. */
export function parseJsonText(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_FORMAT', `${name}: malformed JSON: ${quote(reason, 160)}`);
  }
}

function jsonText(bytes: Uint8Array, name: string): string {
  if (bytes.length > constants.MAX_STRING_LENGTH) {
    const most = `${Math.floor(constants.MAX_STRING_LENGTH / 2 ** 20)} MiB`;
    throw new EplbError(
      'EPLB_FORMAT',
      `${name}: JSON is read up to ${most}; give a part of it, or another format`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EplbError('EPLB_FORMAT', `${name}: malformed JSON: ${quote(reason, 160)}`);
  }
}

/** The value of an object's own key, or undefined: also when it is no object, or the key is only its prototype's. */
export function ownValue(value: unknown, key: string): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

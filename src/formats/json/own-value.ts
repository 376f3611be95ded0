/** The value of an object's own key, or undefined: also when it is no object, or the key is only its prototype's. */
export function ownValue(value: unknown, key: string): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

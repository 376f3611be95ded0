/** Unsigned 64-bit keys, largest first. */
export function sortKeysDescending(keys: readonly bigint[]): bigint[] {
  return [...keys].sort((a, b) => (a > b ? -1 : a < b ? 1 : 0));
}

/**
 * Orders names of files by the times and numbers in them: texts are compared as texts, numbers as numbers
 * (`_9` before `_10`), with their fraction where one follows (Python's time.time() writes 1751.5 before
 * 1751.75).
 */
export function byTimeInName(a: string, b: string): number {
  const inA = partsOf(a);
  const inB = partsOf(b);
  for (let i = 0; i < Math.min(inA.length, inB.length); i++) {
    const difference = compareParts(inA[i]!, inB[i]!);
    if (difference !== 0) return difference;
  }
  return inA.length - inB.length || (a < b ? -1 : Number(a > b));
}

function partsOf(name: string): string[] {
  return name.match(/\d+(?:\.\d+)?|\D+/g) ?? [];
}

function compareParts(a: string, b: string): number {
  if (/^\d/.test(a) && /^\d/.test(b)) return Number(a) - Number(b);
  return a < b ? -1 : Number(a > b);
}

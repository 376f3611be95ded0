import { isOwnError } from '../core/errors.ts';

/** Runs `work`. What the library says is wrong is said in the command's terms: with its options and files. */
export function sayingErrors<T>(say: (message: string) => string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isOwnError(error)) error.message = say(error.message);
    throw error;
  }
}

/** What the library calls sizes that options give. */
const OPTIONS: Readonly<Record<string, string>> = {
  numPhysicalExperts: '--slots',
  numRanks: '--ranks',
  numNodes: '--nodes',
  numGroups: '--groups',
  threads: '--threads',
  '(nodeOfRank)': '(nodes of --topology)',
};

/** Sizes, and what else of the library's a message has beside them. */
export const SIZES = /\bnum(?:PhysicalExperts|Ranks|Nodes|Groups)\b|\bnumLogicalExperts \d+|\(nodeOfRank\)/g;

/** Of a match of {@link SIZES}. */
export function sizeInOptions(name: string): string {
  return OPTIONS[name] ?? name.replace('numLogicalExperts', 'the logical experts,');
}

/**
 * What the library says of an option that nobody put into the command's words before. Fields of files stand
 * behind the file's name, and stay as they are.
 */
export function startingWithOption(message: string): string {
  const first = /^(threads|num[A-Z][A-Za-z]+)(?=:)/.exec(message)?.[1];
  if (first === undefined || OPTIONS[first] === undefined) return message;
  return message.replace(first, OPTIONS[first]).replace(SIZES, sizeInOptions);
}

import { existsSync } from 'node:fs';

/** Arguments as they are read now, and what is to be said of how they were typed. */
export interface SpelledArguments {
  readonly args: readonly string[];
  /** What was renamed, one sentence each. */
  readonly notes: readonly string[];
  /** A message that names options as they were typed. */
  readonly asTyped: (message: string) => string;
}

interface OldSpelling {
  readonly old: string;
  readonly now: string;
  readonly commands: readonly string[];
  /** Where the old spelling has another meaning now: whether this value is of the one that it had. */
  readonly isOld?: (value: string) => Promise<boolean>;
  /** What is said of it; nothing where both spellings are good. */
  readonly note?: string;
}

const REPLAYING = ['replay', 'compare', 'sweep'];

/** Options that had another name. They go on working. */
const OLD_SPELLINGS: readonly OldSpelling[] = [
  { old: '--replicas', now: '--slots', commands: ['plan', ...REPLAYING] },
  {
    old: '--from',
    now: '--start-from',
    commands: ['plan', 'replay', 'compare'],
    isOld: isPlacementFile,
    note: 'a placement is given by --start-from now; --from is a format',
  },
  {
    old: '--format',
    now: '--from',
    commands: ['plan', 'inspect', ...REPLAYING],
    note: 'it is called --from now, as in convert',
  },
  {
    old: '--tokens',
    now: '--tokens-per-step',
    commands: ['synth'],
    note: 'it is called --tokens-per-step now, as in the other commands',
  },
];

/** Puts the options that had another name under the one that they have now. */
export async function spelledAnew(args: readonly string[]): Promise<SpelledArguments> {
  const known = OLD_SPELLINGS.filter(({ commands }) => commands.includes(args[0] ?? ''));
  const found: OldSpelling[] = [];
  const end = args.indexOf('--');
  const renamed: string[] = [];
  for (const [i, arg] of args.entries()) {
    const [, name, value = args[i + 1]] = /^(--[\w-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    const one = end !== -1 && i > end ? undefined : known.find(({ old }) => old === name);
    if (one === undefined || (await one.isOld?.(value ?? '')) === false) {
      renamed.push(arg);
      continue;
    }
    found.push(one);
    renamed.push(one.now + arg.slice(one.old.length));
  }
  const notes = found.flatMap(({ old, note }) => (note === undefined ? [] : [`${old}: ${note}`]));
  return { args: renamed, notes: [...new Set(notes)], asTyped: (message) => asTyped(message, found, args) };
}

/**
 * `--json` in front of files, where it took none: the file that followed it is one of those that are read.
 * Undefined where no file follows it.
 */
export function jsonBeforeFiles(args: readonly string[]): string[] | undefined {
  const at = args.indexOf('--json');
  const next = args[at + 1];
  if (at === -1 || next === undefined || next.startsWith('-')) return undefined;
  return args.with(at, '--json=-');
}

function asTyped(message: string, found: readonly OldSpelling[], args: readonly string[]): string {
  let text = message;
  for (const { old, now } of found) {
    const isBoth = args.some((arg) => arg === now || arg.startsWith(`${now}=`));
    if (!isBoth) text = text.replaceAll(new RegExp(`${now}(?![\\w-])`, 'g'), old);
  }
  return text;
}

/** Whether a value is a file's, not that of a format; one without a dot has to be there. */
async function isPlacementFile(name: string): Promise<boolean> {
  if (!/^[\w-]+$/.test(name) || name === '-') return true;
  const { LOAD_FORMATS } = await import('../formats/loads/registry.ts');
  return !LOAD_FORMATS.some((format) => format.name === name) && existsSync(name);
}

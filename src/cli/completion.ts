import type { Argument, Command, Option } from 'commander';

/** What may stand behind an option, or in the place of an argument. */
export type CompletionValue =
  | { readonly kind: 'none' }
  | { readonly kind: 'file' }
  | { readonly kind: 'words'; readonly words: readonly string[] };

/** An option with its spellings, long ones first. */
interface CompletionOption {
  readonly names: readonly string[];
  readonly description: string;
  /** Undefined where nothing stands behind it. */
  readonly value: CompletionValue | undefined;
}

/** A command as completion knows it. */
export interface CompletionCommand {
  readonly name: string;
  readonly description: string;
  readonly options: readonly CompletionOption[];
  readonly argument: CompletionValue;
}

/** Commands with their options, as they configured themselves. */
export function completionCommands(
  commands: readonly Command[],
  words: Readonly<Record<string, readonly string[]>>,
): CompletionCommand[] {
  return commands.map((command) => {
    const options = command.options.map((option) => completionOption(option, words));
    const help = { names: ['--help', '-h'], description: 'print this help', value: undefined };
    return {
      name: command.name(),
      description: command.description(),
      options: [...options, help],
      argument: argumentValue(command.registeredArguments[0]),
    };
  });
}

function completionOption(
  { long, short, description, required, optional, flags }: Option,
  words: Readonly<Record<string, readonly string[]>>,
): CompletionOption {
  const names = [long, short].filter((name) => name !== undefined && name !== null);
  const takes = required || optional;
  return { names, description, value: takes ? optionValue(long ?? '', flags, words) : undefined };
}

/** Values are files where the option says so, and words where they are known. */
function optionValue(
  long: string,
  flags: string,
  words: Readonly<Record<string, readonly string[]>>,
): CompletionValue {
  const known = words[long];
  if (known !== undefined) return { kind: 'words', words: known };
  return /[<[](file|loads)[>\]]/.test(flags) ? { kind: 'file' } : { kind: 'none' };
}

function argumentValue(argument: Argument | undefined): CompletionValue {
  if (argument === undefined) return { kind: 'none' };
  const choices = argument.argChoices;
  return choices === undefined ? { kind: 'file' } : { kind: 'words', words: choices };
}

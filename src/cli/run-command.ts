import { type Command, CommanderError } from 'commander';
import { EplbError } from '../core/errors.ts';
import { packageVersion } from '../core/version.ts';
import { failureOf } from './failure.ts';
import { jsonBeforeFiles, spelledAnew } from './old-spellings.ts';
import { buildProgram, commandOf, helpCommand } from './program.ts';
import { namingInput } from './standard-streams.ts';
import { print } from './terminal.ts';

/**
 * Runs a command line. What goes wrong is one line on standard error, and the exit code of the process.
 *
 * @param typed - the arguments after `node` and the script
 */
export async function runCommand(typed: readonly string[]): Promise<void> {
  const { args, notes, asTyped } = await spelledAnew(typed);
  try {
    const more = await parse(args);
    for (const note of [...notes, ...more]) print(process.stderr, `eplb: note: ${note}\n`);
  } catch (error) {
    const isUnknown = error instanceof CommanderError && error.code === 'commander.unknownOption';
    if (error instanceof Error && !isUnknown) error.message = asTyped(error.message);
    if (error instanceof Error) error.message = namingInput(error.message);
    const failure = failureOf(error, helpCommand(args), Boolean(process.env.EPLB_DEBUG));
    print(process.stderr, failure.text);
    // Not process.exit(): that would cut off output on its way into a pipe.
    process.exitCode = failure.exitCode;
  }
}

/** @returns what is to be said of the arguments */
async function parse(args: readonly string[]): Promise<readonly string[]> {
  const program = await buildProgram(packageVersion(), args);
  try {
    await program.parseAsync(args, { from: 'user' });
    return [];
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const command = commandOf(program, args);
    if (command === undefined || !MISSING.includes(error.code)) throw error;
    const last = error.code === 'commander.missingArgument' ? jsonBeforeFiles(args) : undefined;
    if (last === undefined) throw missing(command);
    await parse(last);
    return ['--json: it takes a file now: put it last, or write --json=-'];
  }
}

const MISSING: readonly string[] = ['commander.missingArgument', 'commander.missingMandatoryOptionValue'];

/** All arguments and options that a command needs and did not get, as one error. */
function missing(command: Command): EplbError {
  const files = command.registeredArguments.slice(command.args.length).filter(({ required }) => required);
  const options = command.options.filter(
    (option) => option.mandatory && command.getOptionValue(option.attributeName()) === undefined,
  );
  const names = [...files.map((file) => file.name()), ...options.map(({ long }) => long)];
  const help = helpCommand([command.name()]);
  return new EplbError('EPLB_OPTION', `${names.join(', ')}: required but not given; see ${help}`);
}

import { Command } from 'commander';
import { SUBCOMMANDS } from './commands/registry.ts';
import { HELP, OUTPUT } from './help.ts';

/**
 * Builds the command line for the given arguments. It throws instead of ending the process, and leaves errors
 * to the caller to print.
 *
 * @param version - printed by `eplb --version`
 * @param args - the arguments after `node` and the script
 */
export async function buildProgram(version: string, args: readonly string[]): Promise<Command> {
  const program = new Command('eplb')
    .description(
      'Expert-parallelism load balancing: plans where the experts of a Mixture-of-Experts model live.',
    )
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput(OUTPUT)
    .configureHelp(HELP);
  for (const { name, summary, load } of SUBCOMMANDS) {
    const command = program.command(name).description(summary);
    // Completion is of the options of all.
    if (args.includes(name) || args[0] === 'completion') (await load()).configure(command);
  }
  return program;
}

/** The subcommand that arguments name. */
export function commandOf(program: Command, args: readonly string[]): Command | undefined {
  return program.commands.find((command) => command.name() === args[0]);
}

/** The command whose help explains these arguments. */
export function helpCommand(args: readonly string[]): string {
  const named = SUBCOMMANDS.find(({ name }) => name === args[0]);
  return named === undefined ? 'eplb --help' : `eplb ${named.name} --help`;
}

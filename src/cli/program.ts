import { Command } from 'commander';
import { print } from './terminal.ts';

/** A subcommand: what `eplb --help` says of it, and the module that knows the rest. */
interface Subcommand {
  readonly name: string;
  readonly summary: string;
  /** Loaded only when the command line names the subcommand, so that `eplb --help` loads no library. */
  readonly load: () => Promise<{ configure(command: Command): void }>;
}

const SUBCOMMANDS: readonly Subcommand[] = [
  {
    name: 'plan',
    summary: 'plan a placement of experts from recorded routes or loads',
    load: () => import('./commands/plan.ts'),
  },
  {
    name: 'convert',
    summary: "write recorded loads or a placement in another engine's format",
    load: () => import('./commands/convert.ts'),
  },
  {
    name: 'validate',
    summary: 'tell whether engines would take a placement, and how it balances recorded loads',
    load: () => import('./commands/validate.ts'),
  },
  {
    name: 'formats',
    summary: 'list the formats that are read and written',
    load: () => import('./commands/formats.ts'),
  },
  {
    name: 'replay',
    summary: 'replay a recording under a policy: what balancing would give',
    load: () => import('./commands/replay.ts'),
  },
  {
    name: 'compare',
    summary: 'replay a recording under several policies, side by side',
    load: () => import('./commands/compare.ts'),
  },
  {
    name: 'sweep',
    summary: 'replay a recording over a grid of sizes, intervals and policies, and advise',
    load: () => import('./commands/sweep.ts'),
  },
  {
    name: 'inspect',
    summary: 'tell what a recording is like: skew, correlation, drift, sampling noise',
    load: () => import('./commands/inspect.ts'),
  },
  {
    name: 'synth',
    summary: "make up a recording of any model's shape from a seed",
    load: () => import('./commands/synth.ts'),
  },
];

/**
 * Builds the command line for the given arguments. It throws instead of ending the process, and leaves errors to the
 * caller to print.
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
    .configureOutput({
      outputError: () => {},
      writeOut: (text) => print(process.stdout, text),
      writeErr: (text) => print(process.stderr, text),
    });
  for (const { name, summary, load } of SUBCOMMANDS) {
    const command = program.command(name).description(summary);
    if (args.includes(name)) (await load()).configure(command);
  }
  return program;
}

/** The command whose help explains these arguments. */
export function helpCommand(args: readonly string[]): string {
  const named = SUBCOMMANDS.find(({ name }) => name === args[0]);
  return named === undefined ? 'eplb --help' : `eplb ${named.name} --help`;
}

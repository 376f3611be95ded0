#!/usr/bin/env node
import { EplbError } from '../core/errors.ts';
import { packageVersion } from '../core/version.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { failureOf } from './failure.ts';
import { buildProgram, helpCommand } from './program.ts';
import { print } from './terminal.ts';

// The entry of the `eplb` command. The one module of the command that acts when it is loaded.

async function main(args: readonly string[]): Promise<void> {
  // A reader that has seen enough, such as `| head`, is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    const message = `standard output: cannot be written: ${fileReason(error)}`;
    const failure = failureOf(new EplbError('EPLB_FILE', message, { cause: error }), '', false);
    print(process.stderr, failure.text);
    process.exit(failure.exitCode);
  });
  try {
    const program = await buildProgram(packageVersion(), args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    const failure = failureOf(error, helpCommand(args), Boolean(process.env.EPLB_DEBUG));
    print(process.stderr, failure.text);
    // Not process.exit(): that would cut off output on its way into a pipe.
    process.exitCode = failure.exitCode;
  }
}

await main(process.argv.slice(2));

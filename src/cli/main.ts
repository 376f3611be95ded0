#!/usr/bin/env node
import { EplbError } from '../core/errors.ts';
import { fileReason } from '../formats/bytes/file-reason.ts';
import { failureOf } from './failure.ts';
import { runCommand } from './run-command.ts';
import { print } from './terminal.ts';

// The entry of the `eplb` command. The one module of the command that acts when it is loaded.

// A reader that has seen enough, such as `| head`, is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  const message = `standard output: cannot be written: ${fileReason(error)}`;
  const failure = failureOf(new EplbError('EPLB_FILE', message, { cause: error }), '', false);
  print(process.stderr, failure.text);
  process.exit(failure.exitCode);
});

await runCommand(process.argv.slice(2));

#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { failureOf } from './failure.ts';
import { buildProgram, helpCommand } from './program.ts';

// The entry of the `eplb` command. The one module of the command that acts when it is loaded.

async function main(args: readonly string[]): Promise<void> {
  // A reader that has seen enough, such as `| head`, is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    const program = await buildProgram(packageVersion(), args);
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    const failure = failureOf(error, helpCommand(args), Boolean(process.env.EPLB_DEBUG));
    process.stderr.write(failure.text);
    // Not process.exit(): that would cut off output on its way into a pipe.
    process.exitCode = failure.exitCode;
  }
}

function packageVersion(): string {
  // From dist/cli.js, where this module is bundled to.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

await main(process.argv.slice(2));

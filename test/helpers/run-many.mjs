/**
 * Runs the built command for many command lines, one after the other, in one process: a start takes longer
 * than most of them. Each comes as a message, and what it said goes back as one.
 */
import { readdirSync } from 'node:fs';
import process from 'node:process';

const [cli] = process.argv.slice(2);
let texts = ['', ''];
for (const [i, stream] of [process.stdout, process.stderr].entries()) {
  // Every run listens for errors of standard output, as it is a process of its own else.
  stream.setMaxListeners(0);
  stream.write = (chunk, ...rest) => {
    texts[i] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1');
    rest.find((one) => typeof one === 'function')?.();
    return true;
  };
}

let numRuns = 0;
process.on('message', async ({ args, columns, cwd }) => {
  texts = ['', ''];
  process.chdir(cwd);
  process.exitCode = undefined;
  process.argv = [process.argv[0], cli, ...args];
  if (columns === undefined) delete process.env.COLUMNS;
  else process.env.COLUMNS = String(columns);
  await import(`${cli}?${numRuns++}`);
  const [stdout, stderr] = texts;
  process.send({ code: process.exitCode ?? 0, stdout, stderr, files: readdirSync('.').sort() });
  process.exitCode = 0;
});

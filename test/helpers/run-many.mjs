/**
 * Runs the built command for many command lines, one after the other, in one process: a start takes longer
 * than most of them. What it says stands in a line of JSON each, on the real standard output.
 */
import { readdirSync } from 'node:fs';
import process from 'node:process';

const [cli, lines] = process.argv.slice(2);
const streams = [process.stdout, process.stderr];
const real = streams.map((stream) => stream.write.bind(stream));
let texts = ['', ''];
for (const [i, stream] of streams.entries()) {
  // Every run listens for errors of standard output, as it is a process of its own else.
  stream.setMaxListeners(0);
  stream.write = (chunk, ...rest) => {
    texts[i] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1');
    rest.find((one) => typeof one === 'function')?.();
    return true;
  };
}

for (const [at, { args, columns }] of JSON.parse(lines).entries()) {
  texts = ['', ''];
  process.exitCode = undefined;
  process.argv = [process.argv[0], cli, ...args];
  if (columns === undefined) delete process.env.COLUMNS;
  else process.env.COLUMNS = String(columns);
  await import(`${cli}?${at}`);
  const [stdout, stderr] = texts;
  const code = process.exitCode ?? 0;
  real[0](`${JSON.stringify({ code, stdout, stderr, files: readdirSync('.').sort() })}\n`);
}
process.exitCode = 0;

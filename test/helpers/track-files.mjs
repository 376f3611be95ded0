// Loaded before an example: says at its end which files it left open. Node closes them when it collects the
// garbage, and newer versions end the process for it.
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import process from 'node:process';

const { open } = fs;
const opened = [];
fs.open = async (...args) => {
  const handle = await open(...args);
  opened.push({ handle, path: args[0] });
  return handle;
};
syncBuiltinESMExports();

process.on('exit', () => {
  for (const { handle, path } of opened) {
    if (handle.fd === -1) continue;
    console.error(`left open: ${path}`);
    process.exitCode = 1;
  }
});

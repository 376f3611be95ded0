// Preloaded by the programs of the demo: they end when it does, however that ends, and then nobody else
// removes its folder.
import { rmSync } from 'node:fs';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

function endWithDemo() {
  let isAlone = false;
  process.on('disconnect', () => {
    isAlone = true;
    process.kill(process.pid, 'SIGTERM');
  });
  process.on('exit', () => {
    if (isAlone) rmSync(process.env.EPLB_DEMO_FOLDER, { recursive: true, force: true });
  });
  // Nothing is said on the channel: it keeps no program that has done its work.
  process.channel.unref();
}

if (isMainThread) endWithDemo();

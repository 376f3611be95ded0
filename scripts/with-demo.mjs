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
    // Others may remove it too, and write to it until they end.
    const how = { recursive: true, force: true, maxRetries: 5 };
    if (isAlone) rmSync(process.env.EPLB_DEMO_FOLDER, how);
  });
  // Nothing is said on the channel: it keeps no program that has done its work.
  process.channel.unref();
}

if (isMainThread) endWithDemo();

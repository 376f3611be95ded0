// A worker behind a bare port, which shares nothing with the library: it is busy for a while, and answers.
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const { busy } = createRequire(import.meta.url)('./busy-worker.cjs');
parentPort.on('message', () => parentPort.postMessage(busy(workerData)));

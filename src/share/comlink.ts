import type { receiveMessageOnPort } from 'node:worker_threads';
import type { expose, transfer, wrap } from 'comlink';
import type nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';

/** The parts of comlink that sharing uses. */
interface Comlink {
  readonly expose: typeof expose;
  readonly wrap: typeof wrap;
  readonly transfer: typeof transfer;
  readonly nodeEndpoint: typeof nodeEndpoint;
  readonly receiveMessageOnPort: typeof receiveMessageOnPort;
}

/** Loads comlink when a balancer is first shared: importing the library stays quick without it. */
export async function loadComlink(): Promise<Comlink> {
  const [comlink, adapter, { receiveMessageOnPort }] = await Promise.all([
    import('comlink'),
    import('comlink/dist/esm/node-adapter.mjs'),
    import('node:worker_threads'),
  ]);
  const { expose, wrap, transfer } = comlink;
  return { expose, wrap, transfer, nodeEndpoint: adapter.default, receiveMessageOnPort };
}

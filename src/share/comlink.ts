import type { expose, wrap } from 'comlink';
import type nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';

/** The parts of comlink that sharing uses. */
interface Comlink {
  readonly expose: typeof expose;
  readonly wrap: typeof wrap;
  readonly nodeEndpoint: typeof nodeEndpoint;
}

/** Loads comlink when a balancer is first shared: importing the library stays quick without it. */
export async function loadComlink(): Promise<Comlink> {
  const [comlink, adapter] = await Promise.all([
    import('comlink'),
    import('comlink/dist/esm/node-adapter.mjs'),
  ]);
  return { expose: comlink.expose, wrap: comlink.wrap, nodeEndpoint: adapter.default };
}

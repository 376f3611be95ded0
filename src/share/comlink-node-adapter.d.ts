declare module 'comlink/dist/esm/node-adapter.mjs' {
  import type { MessagePort } from 'node:worker_threads';
  import type { Endpoint } from 'comlink';
  /** Makes a Node message port look like the endpoint comlink wants. */
  // biome-ignore lint/style/noDefaultExport: the package exports so
  export default function nodeEndpoint(port: MessagePort): Endpoint;
}

import type { WasmModule } from './kernel-exports.ts';

let compiled: WasmModule | undefined;
let further: WasmModule | undefined;

/**
 * The compiled module: once a thread, when it is first needed. A worker gets the compiled module of its host
 * instead.
 */
export function kernelModule(): WasmModule {
  if (compiled === undefined) {
    // The build has their bytes here, in base64: by `require` in a function, which an import passes over.
    const text: string = require('../../build/kernels.wasm');
    compiled = new WebAssembly.Module(Buffer.from(text, 'base64'));
  }
  return compiled;
}

/** That of kernels which not every balancer needs, once the thread has it: see {@link keepFurtherModule}. */
export function furtherModule(): WasmModule | undefined {
  return further;
}

/** Keeps that module: who needs it first compiles it, and a worker gets that of its host. */
export function keepFurtherModule(module: WasmModule): void {
  further = module;
}

import type { WasmModule } from './kernel-exports.ts';

let compiled: WasmModule | undefined;
let adaptive: WasmModule | undefined;

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

/** That of the adaptive policy's kernels, once the thread has it: see {@link keepAdaptiveModule}. */
export function adaptiveModule(): WasmModule | undefined {
  return adaptive;
}

/** Keeps the adaptive policy's module: who needs it first compiles it, and a worker gets that of its host. */
export function keepAdaptiveModule(module: WasmModule): void {
  adaptive = module;
}

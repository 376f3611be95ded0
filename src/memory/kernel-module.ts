import kernelText from '../../build/kernels.wasm';
import type { WasmModule } from './kernel-exports.ts';

let compiled: WasmModule | undefined;

/**
 * The compiled module: once a thread, when it is first needed. A worker gets the compiled module of its host
 * instead.
 */
export function kernelModule(): WasmModule {
  compiled ??= new WebAssembly.Module(Buffer.from(kernelText, 'base64'));
  return compiled;
}

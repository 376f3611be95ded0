import kernelBytes from '../../build/kernels.wasm';

let compiled: WebAssembly.Module | undefined;

/** The compiled module: once a thread, when it is first needed. A worker gets the compiled module of its host instead. */
export function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(kernelBytes);
  return compiled;
}

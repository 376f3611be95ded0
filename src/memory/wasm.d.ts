declare module '*.wasm' {
  /** The bytes of the module, inlined by the build. */
  const bytes: Uint8Array<ArrayBuffer>;
  // biome-ignore lint/style/noDefaultExport: the binary loader of the bundler exports so
  export default bytes;
}

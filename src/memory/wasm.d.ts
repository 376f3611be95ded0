declare module '*.wasm' {
  /** The bytes of the module in base64, inlined by the build: decoded only where they are needed. */
  const text: string;
  // biome-ignore lint/style/noDefaultExport: the base64 loader of the bundler exports so
  export default text;
}

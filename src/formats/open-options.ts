/** How a recording is to be read. */
export interface OpenOptions {
  /** Name of its format; recognised by the content when left out. */
  readonly format?: string | undefined;
  /**
   * Logical experts of a layer. Decides between routes and loads where the file does not say which it holds.
   */
  readonly numExperts?: number | undefined;
  /** Tokens that one step of recorded routes adds up; 128 when left out. */
  readonly tokensPerStep?: number | undefined;
}

/** A small decoding batch. */
export const DEFAULT_TOKENS_PER_STEP = 128;

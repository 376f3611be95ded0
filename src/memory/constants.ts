/**
 * The most pages of 64 KiB a kernel memory may have: 4 GiB, all that 32-bit offsets reach. The build declares
 * it in the module's import, and the code that makes a memory stays at or below it: a memory with more would
 * not link.
 */
export const MAX_MEMORY_PAGES = 65_536;

/** Bytes in a page of WebAssembly memory. */
export const PAGE_BYTES = 65_536;

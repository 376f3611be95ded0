/** setTimeout's own limit: a longer delay would fire at once. */
export const MAX_DELAY_MS = 2 ** 31 - 1;

/** Lets what waits for the host's thread run first, such as its timers, sockets and messages. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

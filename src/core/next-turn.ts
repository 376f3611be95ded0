/** Lets what waits for the host's thread run first, such as its timers, sockets and messages. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

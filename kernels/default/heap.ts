// A heap of keys, u64[size], the greatest on top.

/** Adds `key` to a heap of `size` keys. */
export function siftUp(heap: usize, size: i32, key: u64): void {
  let at = size;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = load<u64>(heap + ((<usize>parent) << 3));
    if (above >= key) break;
    store<u64>(heap + ((<usize>at) << 3), above);
    at = parent;
  }
  store<u64>(heap + ((<usize>at) << 3), key);
}

/** Replaces the top of a heap of `size` keys by `key`. */
export function siftDown(heap: usize, size: i32, key: u64): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    let greatest = load<u64>(heap + ((<usize>child) << 3));
    if (child + 1 < size) {
      const other = load<u64>(heap + ((<usize>child) << 3), 8);
      if (other > greatest) {
        greatest = other;
        child++;
      }
    }
    if (greatest <= key) break;
    store<u64>(heap + ((<usize>at) << 3), greatest);
    at = child;
  }
  store<u64>(heap + ((<usize>at) << 3), key);
}

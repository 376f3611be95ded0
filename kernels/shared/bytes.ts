// Whole regions. From JavaScript, fill() on shared memory goes byte by byte: 37 microseconds for the 133 KB
// of a 58 x 288 table of sums, where this takes 1.5. copyWithin() takes 4.7 for as much, and this 3.1.

/** Sets `length` bytes to 0. */
export function clearBytes(at: usize, length: usize): void {
  memory.fill(at, 0, length);
}

/** Copies `length` bytes; the regions may overlap. */
export function copyBytes(to: usize, from: usize, length: usize): void {
  memory.copy(to, from, length);
}

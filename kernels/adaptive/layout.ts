// How scratch memory is laid out: a struct, and behind it the tables that its fields point to.

/**
 * Places a table of so many bytes, on a cache line of its own, and has the field at `offset` of the struct
 * point to it. With no struct, 0, nothing is written: so one function tells both where the tables are and how
 * much they take.
 *
 * @param end where the tables before it end, from the struct on
 * @returns where this one ends
 */
export function place(struct: usize, offset: usize, end: usize, bytes: usize): usize {
  const from = (end + 63) & ~63;
  if (struct !== 0) store<usize>(struct + offset, struct + from);
  return from + bytes;
}

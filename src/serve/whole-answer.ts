/** More than any answer has that a service, its leader or etcd gives. */
const MOST_BYTES = 256 * 2 ** 20;

/**
 * An answer to a request of this process, in one piece.
 *
 * @param refused makes what is thrown for one that is too long, from the reason
 */
export async function wholeAnswer(
  answer: AsyncIterable<Buffer>,
  refused = (reason: string): Error => new Error(reason),
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of answer) {
    length += part.length;
    if (length > MOST_BYTES) throw refused(`it has more than ${MOST_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

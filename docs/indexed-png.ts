import { crc32, deflateSync } from 'node:zlib';

/** A picture: [height x width] pixels of red, green, blue and an alpha that is not looked at, a byte each. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8Array;
}

const MAX_COLOURS = 256;
/** Square of the distance below which two colours share one place: six steps of 256 in one channel. */
const ALIKE = 36;

/**
 * A PNG with a palette: the most frequent colours that differ, and for every other one the nearest of them.
 * Screenshots of charts have few colours beside the edges of letters and lines: a third of the bytes, and no
 * difference to be seen.
 */
export function indexedPng({ width, height, rgba }: Pixels): Buffer {
  const colours = Array.from({ length: width * height }, (_, i) => {
    const [red, green, blue] = rgba.subarray(4 * i, 4 * i + 3) as unknown as [number, number, number];
    return (red << 16) | (green << 8) | blue;
  });
  const counts = new Map<number, number>();
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const byCount = [...counts].sort(([a, countA], [b, countB]) => countB - countA || a - b);
  const palette: number[] = [];
  for (const [colour] of byCount) {
    // Rare colours of a scale have a place too: none is taken by a second one of the same.
    const isNew = palette.every((other) => distance(other, colour) >= ALIKE);
    if (isNew && palette.length < MAX_COLOURS) palette.push(colour);
  }
  const indexOf = new Map(byCount.map(([colour]) => [colour, nearest(palette, colour)]));
  // Every row begins with its filter: none, since neighbours in a palette have nothing in common.
  const rows = Buffer.alloc(height * (width + 1));
  colours.forEach((colour, i) => {
    rows[i + Math.floor(i / width) + 1] = indexOf.get(colour)!;
  });
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits, a palette, the only compression and filters there are, rows in order.
  header.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('PLTE', Buffer.from(palette.flatMap(channels))),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function channels(colour: number): [red: number, green: number, blue: number] {
  return [colour >> 16, (colour >> 8) & 255, colour & 255];
}

/** Square of the distance of two colours. */
function distance(a: number, b: number): number {
  const other = channels(b);
  return channels(a).reduce((sum, channel, i) => sum + (channel - other[i]!) ** 2, 0);
}

/** Index of the colour of the palette that is nearest; the first of equal ones. */
function nearest(palette: readonly number[], colour: number): number {
  const distances = palette.map((other) => distance(other, colour));
  return distances.indexOf(Math.min(...distances));
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

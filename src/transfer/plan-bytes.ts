import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import type { RankSlot, Transfer, TransferCopy, TransferLayer, UndoneSlot } from './layer.ts';
import type { TransferPlanJson } from './plan-json.ts';

// Magic, version, length of the head, the head as JSON; then the operations of the layers as whole numbers of
// seven bits a byte, the lowest first, the eighth bit saying that more follow.

const MAGIC = 'EPLT';
const VERSION = 1;
const HEADER_BYTES = 12;
const REASONS = ['deadRank', 'staging'] as const;

/** A plan in bytes. */
export function encodePlan(plan: TransferPlanJson): Uint8Array {
  const { layers, ...head } = plan;
  const links = [...new Set(layers.flatMap(({ rounds }) => rounds.flat().map(({ link }) => link)))];
  const layerSeconds = layers.map(({ seconds }) => seconds);
  const stagingBytes = layers.map((layer) => layer.stagingBytes);
  const text = new TextEncoder().encode(
    JSON.stringify({ ...head, links, layerSeconds, layerStagingBytes: stagingBytes }),
  );
  const body = new Writer();
  for (const layer of layers) writeLayer(body, layer, links);
  const numbers = body.bytes();
  const bytes = new Uint8Array(HEADER_BYTES + text.length + numbers.length);
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, text.length, true);
  bytes.set(text, HEADER_BYTES);
  bytes.set(numbers, HEADER_BYTES + text.length);
  return bytes;
}

/**
 * Reads what {@link encodePlan} wrote, as plain data that is still to be checked.
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_FORMAT`
 */
export function decodePlan(bytes: Uint8Array): object {
  if (!(bytes instanceof Uint8Array)) {
    throw new EplbTypeError('EPLB_KIND', `plan: ${show(bytes)} is not a Uint8Array`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isMagic =
    bytes.length >= HEADER_BYTES && MAGIC.split('').every((one, i) => bytes[i] === one.charCodeAt(0));
  if (!isMagic || view.getUint32(4, true) !== VERSION) {
    throw malformed(`does not begin with ${MAGIC} and version ${VERSION}`);
  }
  const end = HEADER_BYTES + view.getUint32(8, true);
  if (end > bytes.length) throw malformed(`its head of ${end} bytes is longer than its ${bytes.length}`);
  const head = readHead(bytes.subarray(HEADER_BYTES, end));
  const { links, layerSeconds, layerStagingBytes, bytesPerExpert, ...rest } = head;
  if (!Array.isArray(links) || !Array.isArray(layerSeconds) || !Array.isArray(layerStagingBytes)) {
    throw malformed('its head has no lists of links and layers');
  }
  const body = new Reader(bytes.subarray(end));
  const layers: object[] = [];
  while (!body.isAtEnd) {
    const i = layers.length;
    const layer = readLayer(body, links, bytesPerExpert);
    layers.push({ ...layer, seconds: layerSeconds[i], stagingBytes: layerStagingBytes[i] });
  }
  return { ...rest, bytesPerExpert, layers };
}

function readHead(bytes: Uint8Array): Record<string, unknown> {
  try {
    const head: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof head === 'object' && head !== null) return head as Record<string, unknown>;
  } catch {
    // Said below, as of any other head that is none.
  }
  throw malformed('its head is no JSON object');
}

function writeLayer(to: Writer, layer: TransferLayer, links: readonly string[]): void {
  const { mostSent, mostReceived, rounds } = layer.bounds;
  to.write(layer.layer, mostSent, mostReceived, rounds, layer.extraSlots, layer.rounds.length);
  for (const round of layer.rounds) {
    to.write(round.length);
    for (const transfer of round) {
      writeMove(to, transfer);
      to.write(links.indexOf(transfer.link), transfer.fallbacks?.length ?? 0);
      for (const { rank, slot } of transfer.fallbacks ?? []) to.write(rank, slot);
    }
  }
  to.write(layer.copies.length);
  for (const { expert, sourceRank, sourceSlot, targetSlot, step } of layer.copies) {
    to.write(expert, sourceRank, sourceSlot, targetSlot, step);
  }
  to.write(layer.hostLoads.length);
  for (const { expert, targetRank, targetSlot } of layer.hostLoads) to.write(expert, targetRank, targetSlot);
  to.write(layer.clears.length);
  for (const { rank, slot } of layer.clears) to.write(rank, slot);
  to.write(layer.undone.length);
  for (const { expert, targetRank, targetSlot, reason } of layer.undone) {
    to.write(expert, targetRank, targetSlot, REASONS.indexOf(reason));
  }
}

function writeMove(to: Writer, { expert, sourceRank, sourceSlot, targetRank, targetSlot }: Transfer): void {
  to.write(expert, sourceRank, sourceSlot, targetRank, targetSlot);
}

function readLayer(from: Reader, links: readonly unknown[], bytes: unknown): object {
  const layer = from.read();
  const bounds = { mostSent: from.read(), mostReceived: from.read(), rounds: from.read() };
  const extraSlots = from.read();
  const place = (): RankSlot => ({ rank: from.read(), slot: from.read() });
  const rounds = from.list(() => from.list(() => readTransfer(from, links, bytes, place)));
  const copies = from.list((): Omit<TransferCopy, 'bytes'> & { bytes: unknown } => {
    const [expert, rank, sourceSlot] = [from.read(), from.read(), from.read()];
    const [targetSlot, step] = [from.read(), from.read()];
    return { expert, sourceRank: rank, sourceSlot, targetRank: rank, targetSlot, bytes, step };
  });
  const load = () => ({ expert: from.read(), targetRank: from.read(), targetSlot: from.read(), bytes });
  const hostLoads = from.list(load);
  const clears = from.list(place);
  const undone = from.list(
    (): Omit<UndoneSlot, 'bytes' | 'reason'> & { bytes: unknown; reason: unknown } => ({
      ...load(),
      reason: REASONS[from.read()],
    }),
  );
  return { layer, rounds, copies, hostLoads, clears, undone, bounds, extraSlots };
}

function readTransfer(
  from: Reader,
  links: readonly unknown[],
  bytes: unknown,
  place: () => RankSlot,
): object {
  const [expert, sourceRank, sourceSlot] = [from.read(), from.read(), from.read()];
  const [targetRank, targetSlot, link] = [from.read(), from.read(), links[from.read()]];
  const fallbacks = from.list(place);
  const transfer = { expert, sourceRank, sourceSlot, targetRank, targetSlot, bytes, link };
  return fallbacks.length === 0 ? transfer : { ...transfer, fallbacks };
}

class Writer {
  #bytes = new Uint8Array(4096);
  #length = 0;

  write(...values: readonly number[]): void {
    if (this.#length + 5 * values.length > this.#bytes.length) {
      const more = new Uint8Array(2 * this.#bytes.length);
      more.set(this.#bytes);
      this.#bytes = more;
    }
    for (const value of values) {
      let rest = value;
      for (; rest >= 128; rest >>>= 7) this.#bytes[this.#length++] = (rest & 127) | 128;
      this.#bytes[this.#length++] = rest;
    }
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  read(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw malformed('ends within a layer');
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw malformed('has a number of more than 28 bits');
  }

  /** As many items as the number before them says. */
  list<T>(read: () => T): T[] {
    const count = this.read();
    // Each takes a byte at least: a false count makes no room for what is not there.
    if (count > this.#bytes.length - this.#at) throw malformed('ends within a layer');
    return Array.from({ length: count }, read);
  }
}

function malformed(why: string): EplbRangeError {
  return new EplbRangeError('EPLB_FORMAT', `plan: ${why}`);
}

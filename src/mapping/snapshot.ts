import { bytesToHexString, concatUint8Arrays, splitUint8Array } from 'typed-array-utils';
import { littleEndianBytes } from '../core/byte-order.ts';
import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { loadBuiltin } from '../core/load-builtin.ts';

const cryptography = () => loadBuiltin('node:crypto') as typeof import('node:crypto');

// The one module that uses typed-array-utils, on Uint8Array views only: its comparison of buffers is wrong at
// odd lengths, its hex parser drops what it cannot read, and a bare SharedArrayBuffer reads as empty.

/** The flat table a snapshot holds, and its shape. */
export interface SnapshotTable {
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
  readonly numLogicalExperts: number;
  /** [layers x physical] */
  readonly phyToLog: Int32Array;
}

const MAGIC = 'EPLB';
const VERSION = 1;
const HEADER_BYTES = 20;

/**
 * Magic, version, layers, physical, logical (32-bit little-endian each), then the table in the same order of
 * bytes.
 */
export function encodeTable(table: SnapshotTable): Uint8Array {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  for (let i = 0; i < MAGIC.length; i++) header.setUint8(i, MAGIC.charCodeAt(i));
  header.setUint32(4, VERSION, true);
  header.setUint32(8, table.numLayers, true);
  header.setUint32(12, table.numPhysicalExperts, true);
  header.setUint32(16, table.numLogicalExperts, true);
  return concatUint8Arrays(new Uint8Array(header.buffer), littleEndianBytes(table.phyToLog));
}

/** Reads what {@link encodeTable} wrote. @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_FORMAT` */
export function decodeTable(bytes: Uint8Array): SnapshotTable {
  if (!(bytes instanceof Uint8Array))
    throw new EplbTypeError('EPLB_KIND', `snapshot: ${show(bytes)} is not a Uint8Array`);
  if (bytes.length < HEADER_BYTES) {
    throw new EplbRangeError(
      'EPLB_FORMAT',
      `snapshot: ${bytes.length} bytes are less than its header's ${HEADER_BYTES}`,
    );
  }
  const [head, body] = splitUint8Array(bytes, HEADER_BYTES) as [Uint8Array, Uint8Array];
  const header = new DataView(head.buffer, head.byteOffset, head.length);
  if (
    !MAGIC.split('').every((letter, i) => head[i] === letter.charCodeAt(0)) ||
    header.getUint32(4, true) !== VERSION
  ) {
    throw new EplbRangeError('EPLB_FORMAT', `snapshot: does not begin with ${MAGIC} and version ${VERSION}`);
  }
  const numLayers = header.getUint32(8, true);
  const numPhysicalExperts = header.getUint32(12, true);
  const numLogicalExperts = header.getUint32(16, true);
  if (numLayers * numPhysicalExperts === 0 || body.length !== numLayers * numPhysicalExperts * 4) {
    const wanted = `${numLayers} x ${numPhysicalExperts} slots of 4 bytes`;
    throw new EplbRangeError(
      'EPLB_FORMAT',
      `snapshot: ${body.length} bytes follow the header, not ${wanted}`,
    );
  }
  const phyToLog = new Int32Array(numLayers * numPhysicalExperts);
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let i = 0; i < phyToLog.length; i++) phyToLog[i] = view.getInt32(4 * i, true);
  return { numLayers, numPhysicalExperts, numLogicalExperts, phyToLog };
}

/** SHA-256, in hex, of the table's encoding. */
export function digestTable(table: SnapshotTable): string {
  return bytesToHexString(sha256(encodeTable(table)));
}

/** SHA-256, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(cryptography().createHash('sha256').update(bytes).digest());
}

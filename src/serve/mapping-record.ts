import { createHash } from 'node:crypto';
import { littleEndianBytes } from '../core/byte-order.ts';
import { ExpertMapping } from '../mapping/expert-mapping.ts';

export const hexSha256 = (...parts: readonly (Uint8Array | string)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

/** A mapping as plain data, with the order of replicas, which its bytes do not have. */
export interface MappingRecord {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /** Base64 of the tables, little-endian. */
  readonly phyToLog: string;
  readonly logToPhy: string;
}

export function mappingRecord(mapping: ExpertMapping): MappingRecord {
  const { numLayers, numLogicalExperts, phyToLog, logToPhy } = mapping;
  const base64 = (table: Int32Array) => Buffer.from(littleEndianBytes(table)).toString('base64');
  return { numLayers, numLogicalExperts, phyToLog: base64(phyToLog), logToPhy: base64(logToPhy) };
}

/** @throws EplbRangeError `EPLB_MAPPING` */
export function mappingOfRecord({ phyToLog, logToPhy, ...sizes }: MappingRecord): ExpertMapping {
  const table = (text: string) => {
    const bytes = Buffer.from(text, 'base64');
    return Int32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readInt32LE(4 * i));
  };
  return new ExpertMapping({ ...sizes, phyToLog: table(phyToLog), logToPhy: table(logToPhy) });
}

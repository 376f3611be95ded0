import type { ServerResponse } from 'node:http';
import { BINARY_TYPE } from './binary.ts';
import type { Held } from './live-epochs.ts';

/** The type of bodies in JSON. */
export const JSON_TYPE = 'application/json';

/** The type of streams of events. */
export const EVENTS_TYPE = 'text/event-stream';

/** An answer: JSON of a value, or content of a type. */
export interface Reply {
  readonly status: number;
  readonly type: string;
  readonly content: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a plan that follows from its question and this alone. */
  readonly basis?: string;
  /** Goes on with what it answers, in place of the content; what it is refused with is thrown before. */
  readonly stream?: (outgoing: ServerResponse) => Promise<void>;
}

export const jsonReply = (value: unknown, status = 200): Reply => ({
  status,
  type: JSON_TYPE,
  content: JSON.stringify(value),
});

/** A mapping with its epoch: as tables, or in bytes. */
export function mappingReply(epoch: number, { mapping, bytes, digest }: Held, wantsBinary: boolean): Reply {
  if (wantsBinary) {
    const headers = { 'eplb-epoch': String(epoch), 'eplb-digest': digest };
    return { status: 200, type: BINARY_TYPE, content: bytes, headers };
  }
  const { phyToLog, logToPhy, replicaCount } = mapping.toJSON();
  return jsonReply({
    ...{ epoch, digest, physicalToLogical: phyToLog },
    ...{ logicalToPhysical: logToPhy, logicalReplicaCount: replicaCount },
  });
}

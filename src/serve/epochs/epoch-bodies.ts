import { LEAST_SPEED, MAX_SIZE, MOST_SPEED } from '../../core/topology.ts';
import type { Schema } from '../schema.ts';

// What requests about epochs, ranks and events hold.

const step: Schema = { type: 'integer', minimum: 0 };
const rank: Schema = { type: 'integer', minimum: 0, maximum: MAX_SIZE, description: 'which rank says so' };
const digest: Schema = { type: 'string', pattern: '^[0-9a-f]{64}$', description: 'of the mapping' };
const reason: Schema = { type: 'string', maxLength: 1000, description: 'for people' };
const layers = (description: string): Schema => ({ type: 'array', items: { type: 'integer' }, description });
const ranks = (description: string): Schema => ({ type: 'array', items: { type: 'integer' }, description });

/** Which process of a rank speaks of which attempt. */
const speaker = {
  rank,
  incarnation: {
    ...{ type: 'integer', minimum: 0 },
    description: 'which start of its process it is; needed of ranks that have said hello',
  },
  token: { ...step, description: "of the coordinator's act that is answered; needed as incarnation is" },
  digest,
} as const satisfies Record<string, Schema>;

export const OFFER_SCHEMA: Schema = {
  type: 'object',
  required: ['digest'],
  properties: {
    digest: { ...digest, description: 'of a plan that was answered' },
    operationId: {
      ...{ type: 'string', pattern: '^[A-Za-z0-9._:-]{1,128}$' },
      description: 'names the attempt: offered again with it, it is the same one',
    },
    activation: {
      ...{ type: 'string', enum: ['onRequest', 'whenPrepared'] },
      description: "when it goes live: 'onRequest', when /activate asks, if left out",
    },
    fromEpoch: { ...step, description: 'the epoch that has to be live' },
  },
};

/** An offer. */
export interface OfferBody {
  readonly digest: string;
  readonly operationId?: string;
  readonly activation?: 'onRequest' | 'whenPrepared';
  readonly fromEpoch?: number;
}

export const ACK_SCHEMA: Schema = {
  type: 'object',
  required: ['rank'],
  properties: {
    ...speaker,
    state: {
      ...{ type: 'string', enum: ['prepared', 'armed', 'active'] },
      description: "what the rank has done: 'prepared' when left out",
    },
    layers: layers('whose buffers are filled; all of the epoch when left out'),
    lastStep: { ...step, description: "with 'armed': no step after it is served without the decision" },
  },
};

/** What a rank acknowledges. */
export interface AckBody {
  readonly rank: number;
  readonly incarnation?: number;
  readonly token?: number;
  readonly digest?: string;
  readonly state?: 'prepared' | 'armed' | 'active';
  readonly layers?: readonly number[];
  readonly lastStep?: number;
}

export const REFUSE_SCHEMA: Schema = {
  type: 'object',
  required: ['rank', 'reason'],
  properties: { ...speaker, layers: layers('that it cannot prepare; all when left out'), reason },
};

/** What a rank refuses. */
export interface RefuseBody extends Omit<AckBody, 'state' | 'lastStep'> {
  readonly reason: string;
}

export const ACTIVATE_SCHEMA: Schema = {
  type: 'object',
  properties: {
    firstStep: {
      ...{ type: 'integer', minimum: 1 },
      description: 'of the new epoch, where the engine speaks for its ranks; the next one when left out',
    },
  },
};

export const ABORT_SCHEMA: Schema = { type: 'object', properties: { reason } };

export const HEARTBEAT_SCHEMA: Schema = {
  type: 'object',
  required: ['incarnation'],
  properties: {
    incarnation: {
      ...{ type: 'integer', minimum: 1 },
      description: "which start of the rank's process it is: larger at each",
    },
    ttlMs: {
      ...{ type: 'integer', minimum: 10, maximum: 3_600_000 },
      description: 'milliseconds until it is suspected: 10,000 when left out',
    },
    stopsWithLease: {
      type: 'boolean',
      description: 'whether it serves nothing once its lease has run out: true when left out',
    },
    message: {
      ...{ type: 'object', additionalProperties: true },
      description:
        "how it stands, as the protocol's messages of ranks: hello, prepared, refused, armed, confirmed",
    },
  },
};

/** A sign of life of a rank. */
export interface HeartbeatBody {
  readonly incarnation: number;
  readonly ttlMs?: number;
  readonly stopsWithLease?: boolean;
  readonly message?: Readonly<Record<string, unknown>>;
}

export const RANKS_SCHEMA: Schema = {
  type: 'object',
  properties: {
    dead: ranks('whose processes are gone, for certain'),
    alive: ranks('that were dead, and may hold experts again'),
    slow: {
      ...{ type: 'array', maxItems: MAX_SIZE },
      items: {
        ...{ type: 'object', required: ['rank', 'speed'] },
        properties: {
          rank,
          speed: { type: 'number', minimum: LEAST_SPEED, maximum: MOST_SPEED, description: '1 as usual' },
        },
      },
      description: 'how fast ranks are now',
    },
    reason,
  },
};

/** What is reported of ranks. */
export interface RanksBody {
  readonly dead?: readonly number[];
  readonly alive?: readonly number[];
  readonly slow?: readonly { readonly rank: number; readonly speed: number }[];
  readonly reason?: string;
}

/** What `events` takes. */
export const EVENTS_QUERY = { rank: { ...rank, description: 'also the messages for this rank' } };

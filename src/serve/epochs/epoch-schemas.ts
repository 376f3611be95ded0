import type { Schema } from '../schema.ts';

// What answers about epochs and ranks hold.

const whole: Schema = { type: 'integer', minimum: 0 };
const text: Schema = { type: 'string' };
const number: Schema = { type: 'number' };
const list = (items: Schema): Schema => ({ type: 'array', items });
const anything: Schema = { type: 'object', additionalProperties: true };
/** No type: the dialect of these schemas has none for null. */
const orNull = (description: string): Schema => ({ description: `${description}; or null` });
const record = (properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema => ({
  ...{ type: 'object', properties },
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  additionalProperties: false,
});

const epochFields = {
  epoch: whole,
  digest: text,
  operationId: orNull('the name of the attempt'),
  state: {
    ...{ type: 'string' },
    enum: ['preparing', 'prepared', 'arming', 'activating', 'active', 'fenced', 'aborted'],
  },
  layers: list({ type: 'integer' }),
  preparedLayers: list({ type: 'integer' }),
  ranks: list({ type: 'integer' }),
  waitingFor: list({ type: 'integer' }),
  firstStep: orNull('the first step of the new epoch'),
  reason: orNull('why it was aborted'),
  fencedRanks: list(record({ rank: whole, state: text, text })),
  secondsUnderWay: orNull('seconds since the offer'),
} as const satisfies Record<string, Schema>;

export const EPOCH_SCHEMA = record(epochFields);

/** With what the rank is to do next. */
export const ACK_ANSWER_SCHEMA = record({ ...epochFields, messages: list(anything) });

export const EPOCHS_SCHEMA = record({
  epoch: whole,
  digest: text,
  underWay: orNull('the attempt that is under way'),
  ended: list(EPOCH_SCHEMA),
});

export const HEARTBEAT_ANSWER_SCHEMA = record({
  lease: { ...text, enum: ['none', 'alive', 'suspected', 'dead'] },
  state: { ...text, enum: ['serving', 'unconfirmed', 'fenced', 'unknown'] },
  ttlMs: whole,
  epoch: whole,
  digest: text,
  messages: list(anything),
});

export const RANKS_ANSWER_SCHEMA = record({
  epoch: whole,
  digest: text,
  ranks: list(
    record({
      rank: whole,
      lease: text,
      state: text,
      reason: text,
      incarnation: orNull('the newest process that was heard of'),
      speed: number,
      secondsSinceHeartbeat: orNull('of its lease'),
    }),
  ),
});

export const RANK_COUNTS_SCHEMA = record({
  ...{ serving: whole, unconfirmed: whole, fenced: whole, unknown: whole, suspected: whole, dead: whole },
});

export const TOKEN_ANSWER_SCHEMA = record({ token: text });

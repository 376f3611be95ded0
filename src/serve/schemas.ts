import { DECLARATION_SCHEMA } from './declaration.ts';
import { RANK_COUNTS_SCHEMA } from './epochs/epoch-schemas.ts';
import type { Schema } from './schema.ts';

// What answers hold. Those of requests stand where requests are read.

const number: Schema = { type: 'number' };
const whole: Schema = { type: 'integer', minimum: 0 };
const text: Schema = { type: 'string' };
const flag: Schema = { type: 'boolean' };
const list = (items: Schema): Schema => ({ type: 'array', items });
const record = (
  properties: Readonly<Record<string, Schema>>,
  optional: readonly string[] = [],
  more: boolean | Schema = false,
): Schema => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  additionalProperties: more,
});
const orNull = (schema: Schema): Schema => ({ ...schema, description: 'null before the first one' });

export const ERROR_SCHEMA = record({ code: { ...text, pattern: '^EPLB_[A-Z_]+$' }, message: text });

const forecast = record({
  gainPerLayer: list(number),
  secondsPerLayer: list(number),
  moves: whole,
  bytes: number,
  steps: number,
  secondsGained: number,
  secondsSpent: number,
});

export const PLAN_ANSWER_SCHEMA = record(
  {
    status: { ...text, enum: ['planned', 'kept'] },
    reason: { ...text, description: 'why the mapping is kept' },
    group: text,
    planId: text,
    epoch: { ...whole, description: 'the live epoch that it was planned from' },
    digest: { ...text, description: "SHA-256 of the mapping's bytes" },
    previousDigest: { ...text, description: 'of the mapping that it was planned from' },
    moves: whole,
    forecast,
    balancedness: record({ before: number, after: number }),
    dryRun: record({ digest: text, moves: whole, forecast }, ['forecast']),
    transfer: { type: 'object', additionalProperties: true, description: 'see transfer.schema.json' },
    physicalToLogical: list(list({ type: 'integer' })),
    logicalToPhysical: list(list(list({ type: 'integer' }))),
    logicalReplicaCount: list(list({ type: 'integer' })),
  },
  ['reason', 'planId', 'forecast', 'balancedness', 'dryRun', 'transfer'],
);

export const REPORT_ANSWER_SCHEMA = record({
  status: { ...text, enum: ['recorded', 'part', 'again', 'noted'] },
  epoch: whole,
  digest: text,
});

const { properties: declared = {} } = DECLARATION_SCHEMA;

export const GROUP_SCHEMA = record(
  {
    ...declared,
    group: text,
    epoch: whole,
    digest: text,
    paused: flag,
    dryRun: flag,
    conditions: list(record({ type: text, status: flag, reason: text })),
    underWay: {
      description: 'the attempt at the next epoch: epoch, digest and state; null when there is none',
    },
    ranks: RANK_COUNTS_SCHEMA,
    window: record({
      steps: whole,
      source: { ...text, enum: ['empty', 'refilled', 'recorded'] },
      lastStep: orNull({}),
      incompleteSteps: whole,
    }),
    counters: record({ numSteps: whole, numPlanned: whole, numKept: whole, numMoves: whole }),
    secondsSincePlan: orNull({}),
    secondsSinceLoads: orNull({}),
    gains: list(
      record(
        {
          number: whole,
          unit: text,
          realisedGain: number,
          predictedGain: number,
          numSteps: number,
          isFinal: flag,
        },
        ['predictedGain'],
      ),
    ),
  },
  [
    ...['topology', 'slotsPerRank', 'rankSpeed', 'deadRanks', 'nodeOfRank'],
    ...['cost', 'budgets', 'survive', 'rules', 'migration'],
  ],
);

export const GROUPS_SCHEMA = record({
  groups: list(record({ group: text, epoch: whole, digest: text, paused: flag, dryRun: flag })),
});

export const HEALTH_SCHEMA = record(
  {
    status: { ...text, enum: ['ok', 'degraded', 'draining'] },
    version: text,
    groups: whole,
    reasons: list(record({ group: text, type: text, reason: text }, ['group'])),
    cluster: record({
      role: { ...text, enum: ['leader', 'follower'] },
      leader: { description: 'where the service that leads is reached; null when none does' },
      term: { description: 'of the service that leads; null when none does' },
      secondsSinceEtcd: number,
    }),
  },
  ['cluster'],
);

export const HEALTH_QUERY: Readonly<Record<string, Schema>> = {
  degraded: { ...text, enum: ['200', '503'], description: 'the status of the answer when it is degraded' },
};

export const METRICS_QUERY: Readonly<Record<string, Schema>> = {
  ranks: { ...text, enum: ['true', 'false'], description: 'whether each rank has a series' },
};

export const DRY_RUN_SCHEMA: Schema = record({ dryRun: flag });

/** A body that has nothing to say: none, or {}. */
export const NOTHING_SCHEMA: Schema = { type: 'object', properties: {} };

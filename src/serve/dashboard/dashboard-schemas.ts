import { RANK_COUNTS_SCHEMA } from '../epochs/epoch-schemas.ts';
import type { Schema } from '../schema.ts';

// What the dashboard's routes answer.

const number: Schema = { type: 'number' };
const whole: Schema = { type: 'integer', minimum: 0 };
const text: Schema = { type: 'string' };
const flag: Schema = { type: 'boolean' };
const list = (items: Schema): Schema => ({ type: 'array', items });
/** No type: the dialect of these schemas has none for null. */
const orNull = (description: string): Schema => ({ description: `${description}; or null` });
const record = (properties: Readonly<Record<string, Schema>>): Schema => ({
  ...{ type: 'object', properties },
  required: Object.keys(properties),
  additionalProperties: false,
});

const at: Schema = { ...whole, description: 'milliseconds since 1970, by the clock of the service' };
const share: Schema = { ...number, minimum: 0, maximum: 1.000001 };
const conditions = list(record({ type: text, status: flag, reason: text }));

const window = record({
  steps: whole,
  source: { ...text, enum: ['empty', 'refilled', 'recorded'] },
  lastStep: orNull('the newest step'),
  incompleteSteps: whole,
});

const group = record({
  ...{ group: text, policy: text },
  ...{ numLayers: whole, numLogicalExperts: whole, numPhysicalExperts: whole, numRanks: whole },
  ...{ numNodes: whole, windowSize: whole, epoch: whole, digest: text, paused: flag, dryRun: flag },
  underWay: orNull('the attempt at the next epoch: epoch, digest and state'),
  ranks: RANK_COUNTS_SCHEMA,
  hasCost: { ...flag, description: 'whether a cost model says what steps take' },
  conditions,
});

const now = record({
  lastLoadsAt: orNull('when the last whole step was recorded'),
  lastPlanAt: orNull('when a plan was asked for last'),
  window,
  newest: orNull('the newest step that was measured: step, epoch, tokens, balancedness, secondsLost'),
  windowMean: orNull(
    'the mean step of the window: balancedness, secondsLost, worstLayer, worstRank, activeExperts',
  ),
});

const plan = record({
  at,
  times: { ...whole, description: 'how often in a row it was the same' },
  status: { ...text, enum: ['planned', 'kept', 'failed'] },
  reason: text,
  ...{ seconds: number, epoch: whole, moves: whole },
  digest: orNull('of the mapping that was planned'),
  bytes: orNull('of the weights to move, where a cost model knows'),
  predicted: orNull('balancedness before and after, of the loads that it was made for'),
});

const live = record({
  ...{ at, epoch: whole, digest: text, moves: whole },
  bytes: orNull('of the weights that moved, where a cost model knows'),
  predicted: orNull('balancedness before and after, as planned'),
  realised: record({
    before: orNull('balancedness of the last 10 steps measured under the mapping before'),
    after: orNull('of those measured under this one'),
    steps: whole,
  }),
  gain: orNull('of a step: unit, predicted, realised, steps, isFinal'),
});

const plans = record({
  counts: list(record({ result: text, reason: text, count: whole })),
  last: list(plan),
  live: list(live),
  moves: record({ planned: whole, live: whole }),
  bytes: orNull('the same in bytes: planned, live'),
});

const span = record({
  secondsPerPoint: number,
  maxPoints: whole,
  points: {
    ...list({ type: 'array', items: {} }),
    description: 'begin, epoch, balancedness as mean, lowest and highest, seconds lost a step or null',
  },
});

export const DASHBOARD_SCHEMA = record({
  ...{ at, group, now, plans },
  history: record({ minutes: span, hours: span }),
  rankLoads: orNull('rank loads of the newest step in means of their layer, 128 x 128 cells at most'),
});

export const DASHBOARDS_SCHEMA = record({
  ...{ at, version: text, numGroups: whole, numFlagged: whole },
  groups: list(
    record({
      ...{ group: text, policy: text, numLayers: whole, numRanks: whole, epoch: whole },
      ...{ paused: flag, dryRun: flag },
      state: orNull('where the attempt at the next epoch is'),
      flagged: { ...list(text), description: 'what the watchdog has flagged' },
      deadRanks: whole,
      balancedness: orNull('of the newest step that was measured'),
      secondsLost: orNull('of it'),
      lastLoadsAt: orNull('when the last whole step was recorded'),
      lastPlanAt: orNull('when a plan was asked for last'),
    }),
  ),
});

export const RANK_LOADS_SCHEMA = record({
  group: text,
  epoch: whole,
  step: orNull('null: the mean step of the window, which is from before the service started'),
  measured: { ...text, enum: ['slots', 'experts'] },
  balancedness: share,
  deadRanks: list(whole),
  means: { ...list(number), description: '[layers]: what each rank would have at balance' },
  loads: {
    ...list(list(number)),
    description: '[layers][ranks]: tokens; of ranks that differ in speed, tokens / speed',
  },
});

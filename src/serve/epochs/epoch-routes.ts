import type { ServerResponse } from 'node:http';
import { groupTokenOf } from '../group-token.ts';
import { notFound } from '../refusal.ts';
import { EVENTS_TYPE, jsonReply, mappingReply } from '../reply.ts';
import type { Route } from '../route.ts';
import { checkSchema, type Schema } from '../schema.ts';
import { sinkOf } from '../stream-sink.ts';
import {
  ABORT_SCHEMA,
  ACK_SCHEMA,
  ACTIVATE_SCHEMA,
  type AckBody,
  EVENTS_QUERY,
  HEARTBEAT_SCHEMA,
  type HeartbeatBody,
  OFFER_SCHEMA,
  type OfferBody,
  RANKS_SCHEMA,
  type RanksBody,
  REFUSE_SCHEMA,
  type RefuseBody,
} from './epoch-bodies.ts';
import {
  ACK_ANSWER_SCHEMA,
  EPOCH_SCHEMA,
  EPOCHS_SCHEMA,
  HEARTBEAT_ANSWER_SCHEMA,
  RANKS_ANSWER_SCHEMA,
  TOKEN_ANSWER_SCHEMA,
} from './epoch-schemas.ts';
import type { GroupEpochs } from './group-epochs.ts';

const EPOCHS = '/v1/groups/{group}/epochs';
const EPOCH_ANSWER = { 200: { description: 'how the epoch stands', schema: EPOCH_SCHEMA } };
const BODY_REFUSALS = [404, 409, 413, 415, 422];

/** A route by which something is done to an epoch. */
function epochRoute(
  action: 'ack' | 'refuse' | 'activate' | 'abort',
  summary: string,
  { body, ...more }: Pick<Route, 'bodyIsOptional'> & { readonly body: Schema },
  work: (epochs: GroupEpochs, epoch: number, body: unknown) => Promise<object>,
): Route {
  return {
    ...{ method: 'post', path: `${EPOCHS}/{epoch}/${action}`, operationId: `${action}Epoch`, summary, body },
    ...more,
    answers: EPOCH_ANSWER,
    refusals: BODY_REFUSALS,
    async handle({ name, epoch, parseBody }, { service }) {
      const given = parseBody();
      const { epochs } = service.group(name);
      checkSchema(action, body, given);
      return jsonReply(await work(epochs, epoch, given));
    },
  };
}

/** The routes of epochs, ranks and events. */
export const EPOCH_ROUTES: readonly Route[] = [
  {
    method: 'post',
    path: EPOCHS,
    operationId: 'offerEpoch',
    summary: 'offer a plan, by its digest, as the next epoch',
    body: OFFER_SCHEMA,
    answers: {
      200: { description: 'it was offered before', schema: EPOCH_SCHEMA },
      201: { description: 'ranks are asked to prepare', schema: EPOCH_SCHEMA },
    },
    refusals: BODY_REFUSALS,
    async handle({ name, parseBody }, { service }) {
      const body = parseBody();
      const { epochs } = service.group(name);
      checkSchema('offer', OFFER_SCHEMA, body);
      const { view, isNew } = await epochs.offer(body as OfferBody);
      return jsonReply(view, isNew ? 201 : 200);
    },
  },
  {
    method: 'get',
    path: EPOCHS,
    operationId: 'listEpochs',
    summary: 'the live epoch, the attempt that is under way, and how the last ones ended',
    answers: { 200: { description: 'epochs', schema: EPOCHS_SCHEMA } },
    refusals: [404],
    handle: async ({ name }, { service }) => jsonReply(await service.group(name).epochs.list()),
  },
  {
    method: 'get',
    path: `${EPOCHS}/{epoch}`,
    operationId: 'getEpoch',
    summary: 'how an epoch stands',
    answers: EPOCH_ANSWER,
    refusals: [404, 422],
    handle: async ({ name, epoch }, { service }) => jsonReply(await service.group(name).epochs.view(epoch)),
  },
  {
    method: 'get',
    path: `${EPOCHS}/{epoch}/mapping`,
    operationId: 'getEpochMapping',
    summary: 'the mapping of an epoch that is under way, live, or was live lately',
    givesBytes: true,
    answers: {
      200: { description: 'the tables', schema: { type: 'object', additionalProperties: true } },
    },
    refusals: [404, 422],
    handle: ({ name, epoch, wantsBinary }, { service }) =>
      mappingReply(epoch, service.group(name).epochs.mappingOf(epoch), wantsBinary),
  },
  {
    ...epochRoute(
      'ack',
      'a rank has prepared layers, promised its last step, or serves the epoch',
      { body: ACK_SCHEMA },
      (epochs, epoch, body) => epochs.ack(epoch, body as AckBody),
    ),
    answers: { 200: { description: 'how the epoch stands, and what to do next', schema: ACK_ANSWER_SCHEMA } },
  },
  epochRoute(
    'refuse',
    'a rank cannot prepare layers: the attempt is aborted',
    { body: REFUSE_SCHEMA },
    (epochs, epoch, body) => epochs.refuse(epoch, body as RefuseBody),
  ),
  epochRoute(
    'activate',
    'let an epoch go live that all ranks have prepared',
    { body: ACTIVATE_SCHEMA, bodyIsOptional: true },
    (epochs, epoch, body) => epochs.activate(epoch, (body as { firstStep?: number }).firstStep),
  ),
  epochRoute(
    'abort',
    'end an attempt that is not decided',
    { body: ABORT_SCHEMA, bodyIsOptional: true },
    (epochs, epoch, body) => epochs.abort(epoch, (body as { reason?: string }).reason ?? ''),
  ),
  {
    method: 'get',
    path: '/v1/groups/{group}/events',
    operationId: 'events',
    summary: 'what happens, as server-sent events; Last-Event-ID goes on where a stream ended',
    query: EVENTS_QUERY,
    givesEvents: true,
    answers: { 200: { description: 'state, epoch, rank, mode, repair and message events' } },
    refusals: [404, 422],
    handle({ name, query, lastEventId }, { service }) {
      const { epochs } = service.group(name);
      epochs.checkListener(query.rank as number | undefined);
      const stream = async (outgoing: ServerResponse) => {
        try {
          const end = await epochs.listen(sinkOf(outgoing), query.rank as number | undefined, lastEventId);
          outgoing.once('close', end);
          if (outgoing.destroyed) end();
        } catch {
          // The last place was taken meanwhile, or the group is gone: who listens comes again.
          outgoing.destroy();
        }
      };
      return { status: 200, type: EVENTS_TYPE, content: '', stream };
    },
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/ranks',
    operationId: 'getRanks',
    summary: 'all ranks: their leases, and how they stand',
    answers: { 200: { description: 'ranks', schema: RANKS_ANSWER_SCHEMA } },
    refusals: [404],
    handle: async ({ name }, { service }) => jsonReply(await service.group(name).epochs.ranks()),
  },
  {
    method: 'post',
    path: '/v1/groups/{group}/ranks',
    operationId: 'reportRanks',
    summary: 'report ranks that are dead, alive again, or slow',
    body: RANKS_SCHEMA,
    answers: { 200: { description: 'ranks', schema: RANKS_ANSWER_SCHEMA } },
    refusals: BODY_REFUSALS,
    async handle({ name, parseBody }, { service }) {
      const body = parseBody();
      const { epochs } = service.group(name);
      checkSchema('ranks', RANKS_SCHEMA, body);
      return jsonReply(await epochs.reportRanks(body as RanksBody));
    },
  },
  {
    method: 'post',
    path: '/v1/groups/{group}/ranks/{rank}/heartbeat',
    operationId: 'heartbeat',
    summary: 'a rank lives, and says how it stands',
    body: HEARTBEAT_SCHEMA,
    answers: { 200: { description: 'its lease, and what to do', schema: HEARTBEAT_ANSWER_SCHEMA } },
    refusals: BODY_REFUSALS,
    async handle({ name, rank, parseBody }, { service }) {
      const body = parseBody();
      const { epochs } = service.group(name);
      checkSchema('heartbeat', HEARTBEAT_SCHEMA, body);
      return jsonReply(await epochs.heartbeat(rank, body as HeartbeatBody));
    },
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/token',
    operationId: 'getGroupToken',
    summary: "a token for the group's ranks, which is good for nothing outside of the group",
    answers: { 200: { description: 'the token', schema: TOKEN_ANSWER_SCHEMA } },
    refusals: [404],
    handle({ name }, { service, token }) {
      const group = service.group(name);
      if (token === undefined) throw notFound('token: the service was started without one');
      return jsonReply({ token: groupTokenOf(token, group.name) });
    },
  },
];

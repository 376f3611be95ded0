import type { ServerResponse } from 'node:http';
import { notFound } from '../refusal.ts';
import { EVENTS_TYPE, jsonReply, type Reply } from '../reply.ts';
import type { Route } from '../route.ts';
import { sinkOf } from '../stream-sink.ts';
import { DASHBOARD_SCHEMA, DASHBOARDS_SCHEMA, RANK_LOADS_SCHEMA } from './dashboard-schemas.ts';
import type { Feed } from './feed.ts';
import { PAGE_FILES, pageFile } from './page.ts';

const EVENTS = { 200: { description: 'state, with all of it, and update, with what has changed' } };

/** A stream of what a feed shows. */
function watching(feed: Feed, lastEventId: string | undefined): Reply {
  feed.check();
  const stream = async (outgoing: ServerResponse) => {
    try {
      const end = feed.watch(sinkOf(outgoing), lastEventId);
      outgoing.once('close', end);
      if (outgoing.destroyed) end();
    } catch {
      // The last place was taken meanwhile, or the group is gone: who watches comes again.
      outgoing.destroy();
    }
  };
  return { status: 200, type: EVENTS_TYPE, content: '', stream };
}

/** The page and what it loads: nothing of any group is in it, and it needs no token. */
const PAGE_ROUTES: readonly Route[] = Object.entries(PAGE_FILES).map(([path, { operationId, summary }]) => ({
  ...{ method: 'get', path, operationId, summary, isPublic: true },
  answers: { 200: { description: 'the file' }, 304: { description: 'the one that if-none-match names' } },
  refusals: [422],
  handle: ({ ifNoneMatch }) => pageFile(path, ifNoneMatch),
}));

/** The routes of the dashboard. */
export const DASHBOARD_ROUTES: readonly Route[] = [
  ...PAGE_ROUTES,
  {
    method: 'get',
    path: '/v1/dashboard',
    operationId: 'getDashboards',
    summary: 'how all groups stand; of more than 200 those that are flagged first',
    answers: { 200: { description: 'by name', schema: DASHBOARDS_SCHEMA } },
    refusals: [422],
    handle: (_, { service }) => jsonReply(service.overview.view()),
  },
  {
    method: 'get',
    path: '/v1/dashboard/events',
    operationId: 'watchDashboards',
    summary: 'the same, as server-sent events; Last-Event-ID goes on where a stream ended',
    givesEvents: true,
    answers: EVENTS,
    refusals: [422],
    handle: ({ lastEventId }, { service }) => watching(service.overview.feed, lastEventId),
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/dashboard',
    operationId: 'getDashboard',
    summary: 'what the dashboard shows of a group: how it stands, its plans, its history, its rank loads',
    answers: { 200: { description: 'the group', schema: DASHBOARD_SCHEMA } },
    refusals: [404, 422],
    handle: ({ name }, { service }) => jsonReply(service.group(name).dashboard.view()),
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/dashboard/events',
    operationId: 'watchDashboard',
    summary: 'the same, as server-sent events; Last-Event-ID goes on where a stream ended',
    givesEvents: true,
    answers: EVENTS,
    refusals: [404, 422],
    handle: ({ name, lastEventId }, { service }) => watching(service.group(name).dashboard.feed, lastEventId),
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/rank-loads',
    operationId: 'getRankLoads',
    summary: 'loads of all ranks in all layers, of the newest step',
    answers: { 200: { description: 'the loads', schema: RANK_LOADS_SCHEMA } },
    refusals: [404, 422],
    handle({ name }, { service }) {
      const found = service.group(name).dashboard.rankLoads();
      if (found === undefined) throw notFound(`group ${name} has no loads of its ranks yet`);
      const { ranks, step, epoch, measured } = found;
      const { loads, means, numLayers, numRanks, deadRanks, balancedness } = ranks;
      const rows = Array.from({ length: numLayers }, (_, layer) => [
        ...loads.subarray(layer * numRanks, (layer + 1) * numRanks),
      ]);
      const about = { group: name, epoch, step, measured, balancedness, deadRanks };
      return jsonReply({ ...about, means: [...means], loads: rows });
    },
  },
];

import { timingSafeEqual } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type Context, Hono } from 'hono';
import { EplbError, EplbRangeError } from '../core/errors.ts';
import { BINARY_TYPE } from './binary.ts';
import { parseJson } from './bodies.ts';
import type { Cluster, ClusterRequest } from './cluster/cluster.ts';
import { tell } from './events.ts';
import { groupTokenOf, RANKS_MAY_NOT } from './group-token.ts';
import { hexSha256 } from './mapping-record.ts';
import type { MetricsFormat } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { PlanDesk } from './plan-desk.ts';
import { RateLimit } from './rate-limit.ts';
import { HttpRefusal, type Refused, refusedBy } from './refusal.ts';
import { JSON_TYPE, type Reply } from './reply.ts';
import { BodyRoom, readBody } from './request-body.ts';
import { planKindOf, type Route, readQuery, type ServeContext, type ServeRequest } from './route.ts';
import { ROUTES } from './routes.ts';
import type { PlanningService } from './service.ts';

/** A request on a connection of Node's server. */
type ServeBindings = { Bindings: HttpBindings & { readonly outgoing: ServerResponse } };
type ServeCall = Context<ServeBindings>;

/** What the HTTP side is told. */
export interface AppOptions {
  readonly maxBodyBytes: number;
  /** Requests a second, of all clients together. */
  readonly maxRequestsPerSecond: number;
  /** Bytes of answers kept for each group. */
  readonly maxCacheBytes: number;
  /** Every request has to carry it, but for /healthz and the dashboard's page. */
  readonly token: string | undefined;
  /** The hosts that a request may name; any, when left out. */
  readonly hosts: readonly string[] | undefined;
  /** With those that share etcd. */
  readonly cluster: Cluster | undefined;
  isDraining(): boolean;
  /** What is a fault of the service. */
  onFault(error: unknown): void;
}

/** The service as a handler of requests. */
export function makeApp(service: PlanningService, options: AppOptions): Hono<ServeBindings> {
  const app = new Hono<ServeBindings>();
  const desk = new PlanDesk(options.maxCacheBytes);
  const rate = new RateLimit(options.maxRequestsPerSecond);
  const document = openApiDocument();
  const context: ServeContext = {
    service,
    desk,
    room: new BodyRoom(),
    token: options.token,
    cluster: options.cluster,
    isDraining: options.isDraining,
    openApi: () => document,
  };
  const answered = (c: ServeCall, work: () => Promise<Reply> | Reply) => answer(c, options, work);
  for (const route of ROUTES) {
    app.on(route.method.toUpperCase(), honoPath(route.path), (c) =>
      answered(c, async () => {
        checkCaller(c, route, options);
        if (route.path !== '/healthz') {
          rate.take();
          if (options.isDraining()) throw new EplbError('EPLB_CLOSED', 'the service is being stopped');
        }
        return handle(c, route, context, options);
      }),
    );
  }
  app.all('*', (c) =>
    answered(c, () => {
      checkCaller(c, undefined, options);
      throw unknownPath(c);
    }),
  );
  return app;
}

const honoPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1');

function unknownPath(c: ServeCall): HttpRefusal {
  const { method, path } = c.req;
  const others = ROUTES.filter((route) => {
    const pattern = route.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+');
    return new RegExp(`^${pattern}$`).test(path);
  });
  if (others.length === 0) {
    return new HttpRefusal(
      404,
      'EPLB_NOT_FOUND',
      `there is no path ${path.slice(0, 200)}; see /openapi.json`,
    );
  }
  const methods = others.map((route) => route.method.toUpperCase()).join(', ');
  return new HttpRefusal(405, 'EPLB_OPTION', `${method} is not one of ${methods}`);
}

/** @throws HttpRefusal for who lacks the token, and for pages of other origins */
function checkCaller(c: ServeCall, route: Route | undefined, { token, hosts }: AppOptions): void {
  // A page that a browser shows may reach loopback addresses too, by its own host name.
  if (c.req.header('origin') !== undefined) {
    throw new HttpRefusal(403, 'EPLB_DENIED', 'requests of web pages are not answered');
  }
  const host = (c.req.header('host') ?? '').replace(/:\d+$/, '').toLowerCase();
  if (hosts !== undefined && !hosts.includes(host)) {
    throw new HttpRefusal(403, 'EPLB_DENIED', `host: is none of ${hosts.join(', ')}`);
  }
  if (token === undefined || route?.isPublic) return;
  const [scheme = '', given = ''] = (c.req.header('authorization') ?? '').split(' ');
  if (scheme.toLowerCase() === 'bearer') {
    if (isSame(given, token)) return;
    const group = c.req.param('group');
    if (group !== undefined && isSame(given, groupTokenOf(token, group))) {
      if (route !== undefined && !RANKS_MAY_NOT.includes(route.operationId)) return;
      throw new HttpRefusal(
        403,
        'EPLB_DENIED',
        `the token of group ${group.slice(0, 64)} is not enough for this`,
      );
    }
  }
  throw new EplbError('EPLB_DENIED', 'the token is missing or wrong: Authorization: Bearer TOKEN');
}

/** Compares hashes, whose lengths are equal. */
function isSame(given: string, wanted: string): boolean {
  return timingSafeEqual(Buffer.from(hexSha256(given)), Buffer.from(hexSha256(wanted)));
}

async function handle(
  c: ServeCall,
  route: Route,
  context: ServeContext,
  options: AppOptions,
): Promise<Reply> {
  const query = readQuery(route, new URL(c.req.url).searchParams);
  const accept = c.req.header('accept') ?? '';
  const sent = await readBody(c.env.incoming, options.maxBodyBytes, context.room);
  const type = (c.req.header('content-type') ?? JSON_TYPE).split(';', 1)[0]!.trim().toLowerCase();
  const isBinary = type === BINARY_TYPE;
  const isMissing = sent.length === 0 && route.bodyIsOptional === true;
  if (route.body !== undefined && !isMissing && !(type === JSON_TYPE || (isBinary && route.takesBytes))) {
    const types = route.takesBytes ? `${JSON_TYPE} or ${BINARY_TYPE}` : JSON_TYPE;
    throw new HttpRefusal(415, 'EPLB_FORMAT', `content-type: ${type.slice(0, 80)} is not ${types}`);
  }
  const name = c.req.param('group') ?? '';
  // A plan that was asked before is found by the bytes of its question, which are not parsed again then.
  const isParsed = route.body !== undefined && !isBinary && route.operationId !== 'plan';
  const request: ServeRequest = {
    ...{ name, query, sent, isBinary },
    epoch: numberIn('epoch', c.req.param('epoch')),
    rank: numberIn('rank', c.req.param('rank')),
    lastEventId: c.req.header('last-event-id'),
    ifNoneMatch: c.req.header('if-none-match'),
    parseBody: () => (isMissing ? {} : isParsed ? parseJson(sent.whole) : undefined),
    wantsBinary: route.givesBytes === true && accept.includes(BINARY_TYPE),
    metricsFormat: formatOf(accept),
  };
  const work = () => route.handle(request, context);
  if (options.cluster === undefined) return work();
  return options.cluster.answer(clusterRequest(c, route, request), work);
}

function clusterRequest({ req }: ServeCall, { operationId }: Route, request: ServeRequest): ClusterRequest {
  const { name, epoch, wantsBinary, sent } = request;
  const { pathname, search } = new URL(req.url);
  return {
    ...{ operationId, name, epoch, wantsBinary, body: sent.parts },
    ...{ method: req.method, path: pathname + search },
    planKind: planKindOf(request),
    header: (own) => req.header(own),
  };
}

/** A number of the path; 0 where it names none. @throws EplbRangeError `EPLB_NOT_WHOLE` */
function numberIn(name: string, text = '0'): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new EplbRangeError('EPLB_NOT_WHOLE', `path: ${name} '${text.slice(0, 40)}' is not a whole number`);
}

/** The older format, unless OpenMetrics is asked for, as Prometheus does. */
function formatOf(accept: string): MetricsFormat {
  return accept.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus';
}

async function answer(
  { env: { outgoing } }: ServeCall,
  { onFault, isDraining }: AppOptions,
  work: () => Promise<Reply> | Reply,
): Promise<Response> {
  let reply: Reply;
  try {
    reply = await work();
  } catch (error) {
    const refused = refusedBy(error);
    // No faults of the service: it is being stopped, or says by its health what it lacks.
    const isTold = ['EPLB_CLOSED', 'EPLB_ETCD', 'EPLB_NO_LEADER'].includes(refused.code);
    if (refused.status >= 500 && !isTold) onFault(error);
    tell('refusal', () => refused);
    reply = refusalReply(refused);
  }
  const { status, type, content, headers, stream } = reply;
  // Who went meanwhile gets nothing.
  if (outgoing.destroyed) return RESPONSE_ALREADY_SENT;
  if (stream !== undefined) {
    outgoing.writeHead(status, {
      'content-type': type,
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    outgoing.flushHeaders();
    await stream(outgoing);
    return RESPONSE_ALREADY_SENT;
  }
  const isEmpty = status === 204 || status === 304;
  outgoing.writeHead(status, {
    'cache-control': 'no-store',
    ...headers,
    ...(isEmpty ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(content) }),
    // What is left of a body that is too large is not waited for.
    ...(isDraining() || status === 413 ? { connection: 'close' } : {}),
    'x-content-type-options': 'nosniff',
  });
  outgoing.end(isEmpty ? undefined : content);
  return RESPONSE_ALREADY_SENT;
}

function refusalReply({ status, code, message }: Refused): Reply {
  const isLater = status === 429 || code === 'EPLB_ETCD' || code === 'EPLB_NO_LEADER';
  const headers = status === 401 ? { 'www-authenticate': 'Bearer' } : isLater ? { 'retry-after': '1' } : {};
  return { status, type: JSON_TYPE, content: JSON.stringify({ code, message }), headers };
}

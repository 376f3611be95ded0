import { EplbRangeError } from '../core/errors.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { MetricsFormat } from './metrics.ts';
import type { PlanDesk } from './plan-desk.ts';
import type { Reply } from './reply.ts';
import type { BodyRoom, RequestBody } from './request-body.ts';
import { checkSchema, type Schema } from './schema.ts';
import type { PlanningService } from './service.ts';

/** A request as handlers see it. */
export interface ServeRequest {
  /** The group that the path names, decoded; empty where it names none. */
  readonly name: string;
  /** Numbers that the path names; 0 where it names none. */
  readonly epoch: number;
  readonly rank: number;
  /** The last event that a listener has heard. */
  readonly lastEventId: string | undefined;
  /** Tags of what a browser has already. */
  readonly ifNoneMatch: string | undefined;
  /** The query's values, checked. */
  readonly query: Readonly<Record<string, string | number>>;
  /**
   * Parses JSON, or gives undefined: whoever answers calls it, which may be another service. No getter: V8
   * keeps what an object's own getter reaches, here the whole request, until it collects all old memory.
   */
  readonly parseBody: () => unknown;
  readonly sent: RequestBody;
  readonly isBinary: boolean;
  readonly wantsBinary: boolean;
  readonly metricsFormat: MetricsFormat;
}

/** What handlers work with. */
export interface ServeContext {
  readonly service: PlanningService;
  readonly desk: PlanDesk;
  readonly room: BodyRoom;
  /** That every request has to carry. */
  readonly token: string | undefined;
  /** With those that share etcd. */
  readonly cluster: Cluster | undefined;
  isDraining(): boolean;
  openApi(): object;
}

/** A route: where it is, what it takes and gives, and what it does. The OpenAPI document is made of these. */
export interface Route {
  readonly method: 'get' | 'put' | 'post' | 'delete';
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly query?: Readonly<Record<string, Schema>>;
  readonly body?: Schema;
  /** Whether a request without a body is one with {}. */
  readonly bodyIsOptional?: boolean;
  /** Whether the body may come in bytes. */
  readonly takesBytes?: boolean;
  /** Whether the answer may go in bytes. */
  readonly givesBytes?: boolean;
  /** Whether it needs no token: it shows nothing of any group but what is wrong with it. */
  readonly isPublic?: boolean;
  /** Whether the answer is a stream of events. */
  readonly givesEvents?: boolean;
  /** Answers that are no refusals. */
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema?: Schema }>>;
  /** The statuses it refuses with, beside those of every route. */
  readonly refusals: readonly number[];
  handle(request: ServeRequest, context: ServeContext): Promise<Reply> | Reply;
}

/** What beside its body changes the answer to a plan. */
export function planKindOf({
  isBinary,
  wantsBinary,
  query,
}: Pick<ServeRequest, 'isBinary' | 'wantsBinary' | 'query'>): string {
  return `${isBinary} ${wantsBinary} ${query.generation ?? ''}`;
}

/** A value of the query, as its schema says. @throws EplbTypeError, EplbRangeError */
export function readQuery(route: Route, given: URLSearchParams): Record<string, string | number> {
  const known = route.query ?? {};
  const query: Record<string, string | number> = {};
  for (const [name, text] of given) {
    const schema = Object.hasOwn(known, name) ? known[name] : undefined;
    if (schema === undefined) {
      const all = Object.keys(known).join(', ') || 'none';
      throw new EplbRangeError('EPLB_OPTION', `query: there is no ${name.slice(0, 64)}; there are ${all}`);
    }
    const value = schema.type === 'integer' && /^\d{1,16}$/.test(text) ? Number(text) : text;
    checkSchema(`query.${name}`, schema, value);
    query[name] = value;
  }
  return query;
}

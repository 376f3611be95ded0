import { packageVersion } from '../core/version.ts';
import { BINARY_TYPE } from './binary.ts';
import { GROUP_NAME } from './declaration.ts';
import { EVENTS_TYPE, JSON_TYPE } from './reply.ts';
import type { Route } from './route.ts';
import { ROUTES } from './routes.ts';
import type { Schema } from './schema.ts';
import { ERROR_SCHEMA } from './schemas.ts';

/** What every route may refuse with. */
const ALWAYS = [401, 403, 405, 429, 500, 503];

const REFUSALS: Readonly<Record<number, string>> = {
  401: 'the token is missing or wrong',
  403: 'the request is from a page of another origin, or names another host',
  404: 'there is no such group',
  405: 'this path takes other methods',
  409: 'stale or competing: the message says with what',
  413: 'the body is larger than limits.maxBodyBytes',
  415: 'the body is of another type',
  422: 'the content is wrong: the message says where, and what is right',
  429: 'too many requests, groups or plans at one time',
  500: 'a fault of the service',
  503: 'the service is being stopped, or lacks etcd or a leader: Retry-After says when to ask again',
  507: 'the memory cannot be had',
};

/** The OpenAPI document: made of the routes and the schemas that check them. */
export function openApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of ROUTES)
    paths[route.path] = { ...paths[route.path], [route.method]: operationOf(route) };
  return {
    openapi: '3.1.0',
    info: {
      title: 'eplb serve',
      version: packageVersion(),
      description: 'Plans where the experts of Mixture-of-Experts models lie, for serving engines.',
    },
    components: {
      schemas: { Error: ERROR_SCHEMA },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
    security: [{}, { token: [] }],
    paths,
  };
}

function operationOf(route: Route): object {
  const parameters = [
    ...(route.path.includes('{group}')
      ? [
          {
            name: 'group',
            in: 'path',
            required: true,
            schema: { type: 'string', pattern: GROUP_NAME.source },
          },
        ]
      : []),
    ...['epoch', 'rank'].flatMap((name) => {
      if (!route.path.includes(`{${name}}`)) return [];
      return [{ name, in: 'path', required: true, schema: { type: 'integer', minimum: 0 } }];
    }),
    ...Object.entries(route.query ?? {}).map(([name, schema]) => ({
      ...{ name, in: 'query', required: false, schema },
      ...((schema.description !== undefined || route.takesBytes) && {
        description: schema.description ?? 'beside a body in bytes',
      }),
    })),
  ];
  const bytes = { [BINARY_TYPE]: { schema: { type: 'string', format: 'binary' } } };
  const responses: Record<string, object> = {};
  for (const [status, { description, schema }] of Object.entries(route.answers)) {
    const content = {
      ...(schema && { [JSON_TYPE]: { schema } }),
      ...(route.givesBytes && bytes),
      ...(route.givesEvents && { [EVENTS_TYPE]: { schema: { type: 'string' } } }),
    };
    responses[status] = { description, ...(Object.keys(content).length > 0 && { content }) };
  }
  for (const status of [...ALWAYS, ...route.refusals]) {
    responses[status] ??= {
      description: REFUSALS[status],
      content: { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/Error' } satisfies Schema } },
    };
  }
  return {
    operationId: route.operationId,
    summary: route.summary,
    ...(parameters.length > 0 && { parameters }),
    ...(route.body !== undefined && {
      requestBody: {
        required: route.bodyIsOptional !== true,
        content: { [JSON_TYPE]: { schema: route.body }, ...(route.takesBytes && bytes) },
      },
    }),
    responses,
  };
}

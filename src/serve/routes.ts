import { EplbError } from '../core/errors.ts';
import { packageVersion } from '../core/version.ts';
import { type ExpertMapping, planTransfer } from '../index.ts';
import { BINARY_TYPE } from './binary.ts';
import {
  LOADS_QUERY,
  LOADS_SCHEMA,
  PLAN_QUERY,
  PLAN_SCHEMA,
  parseJson,
  readLoadsBody,
  readLoadsBytes,
  readPlanBody,
  readPlanBytes,
} from './bodies.ts';
import { DASHBOARD_ROUTES } from './dashboard/dashboard-routes.ts';
import { DECLARATION_SCHEMA } from './declaration.ts';
import { EPOCH_ROUTES } from './epochs/epoch-routes.ts';
import type { Group } from './group.ts';
import { type GroupPlan, planAnswer } from './plan-result.ts';
import { JSON_TYPE, jsonReply as json, mappingReply, type Reply } from './reply.ts';
import { planKindOf, type Route } from './route.ts';
import { checkSchema } from './schema.ts';
import {
  DRY_RUN_SCHEMA,
  GROUP_SCHEMA,
  GROUPS_SCHEMA,
  HEALTH_QUERY,
  HEALTH_SCHEMA,
  METRICS_QUERY,
  NOTHING_SCHEMA,
  PLAN_ANSWER_SCHEMA,
  REPORT_ANSWER_SCHEMA,
} from './schemas.ts';

const groupView = (group: Group, status = 200): Reply => json(group.view(), status);
const GROUP_ANSWER = { 200: { description: 'the group', schema: GROUP_SCHEMA } };

/** A route that changes a group's mode. */
function modeRoute(action: 'pause' | 'resume', summary: string): Route {
  return {
    method: 'post',
    path: `/v1/groups/{group}/${action}`,
    operationId: action,
    summary,
    body: NOTHING_SCHEMA,
    bodyIsOptional: true,
    answers: GROUP_ANSWER,
    refusals: [404, 413, 415, 422],
    async handle({ name, parseBody }, { service }) {
      const body = parseBody();
      const group = service.group(name);
      checkSchema(action, NOTHING_SCHEMA, body);
      await group.setMode({ paused: action === 'pause' });
      return groupView(group);
    },
  };
}

export const ROUTES: readonly Route[] = [
  {
    method: 'get',
    path: '/healthz',
    operationId: 'health',
    summary: 'whether the service answers, and what its watchdog has flagged',
    isPublic: true,
    query: HEALTH_QUERY,
    answers: {
      200: { description: 'it does', schema: HEALTH_SCHEMA },
      503: { description: 'it is being stopped, or degraded where 503 was asked for', schema: HEALTH_SCHEMA },
    },
    refusals: [422],
    handle({ query }, { service, cluster, isDraining }) {
      const reasons = [...service.metrics.faults(), ...(cluster?.faults() ?? [])];
      const isDegraded = reasons.length > 0;
      const status = isDraining() ? 'draining' : isDegraded ? 'degraded' : 'ok';
      const code = isDraining() || (isDegraded && query.degraded === '503') ? 503 : 200;
      const shared = cluster && { cluster: cluster.view() };
      const groups = cluster?.numGroups ?? service.groups().length;
      return json({ status, version: packageVersion(), groups, reasons, ...shared }, code);
    },
  },
  {
    method: 'get',
    path: '/metrics',
    operationId: 'metrics',
    summary:
      'metrics of all groups: in the text format of Prometheus, or as OpenMetrics where Accept says so',
    query: METRICS_QUERY,
    answers: { 200: { description: 'text' } },
    refusals: [422],
    handle({ metricsFormat: format, query }, { service: { metrics }, cluster }) {
      const ranks = query.ranks === 'true';
      const { text, contentType } = metrics.text({ format, ranks }, cluster?.families());
      return { status: 200, type: contentType, content: text };
    },
  },
  {
    method: 'get',
    path: '/openapi.json',
    operationId: 'openapi',
    summary: 'this document',
    answers: { 200: { description: 'OpenAPI 3.1', schema: { type: 'object', additionalProperties: true } } },
    refusals: [],
    handle: (_, { openApi }) => json(openApi()),
  },
  {
    method: 'get',
    path: '/v1/groups',
    operationId: 'listGroups',
    summary: 'all groups',
    answers: { 200: { description: 'by name', schema: GROUPS_SCHEMA } },
    refusals: [],
    handle: (_, { service }) =>
      json({
        groups: service.groups().map(({ name, epoch, digest, isPaused, isDryRun }) => ({
          ...{ group: name, epoch, digest, paused: isPaused, dryRun: isDryRun },
        })),
      }),
  },
  {
    method: 'put',
    path: '/v1/groups/{group}',
    operationId: 'declareGroup',
    summary: 'declare a group; with the same content again it stays, with more ranks it gets these',
    body: DECLARATION_SCHEMA,
    answers: { ...GROUP_ANSWER, 201: { description: 'the new group', schema: GROUP_SCHEMA } },
    refusals: [409, 413, 415, 422, 507],
    async handle({ name, parseBody }, { service }) {
      const body = parseBody();
      const { group, isNew } = await service.declare(name, body);
      return groupView(group, isNew ? 201 : 200);
    },
  },
  {
    method: 'get',
    path: '/v1/groups/{group}',
    operationId: 'getGroup',
    summary: 'what is known of a group',
    answers: GROUP_ANSWER,
    refusals: [404],
    handle: ({ name }, { service }) => groupView(service.group(name)),
  },
  {
    method: 'delete',
    path: '/v1/groups/{group}',
    operationId: 'removeGroup',
    summary: 'forget a group and all that was kept of it',
    answers: { 204: { description: 'it is gone' } },
    refusals: [404],
    async handle({ name }, { service, desk }) {
      await service.remove(name);
      desk.forget(name);
      return { status: 204, type: JSON_TYPE, content: '' };
    },
  },
  {
    method: 'get',
    path: '/v1/groups/{group}/mapping',
    operationId: 'getMapping',
    summary: "the live mapping; in bytes as a mapping's snapshot",
    givesBytes: true,
    answers: {
      200: {
        description: 'the tables',
        schema: { type: 'object', additionalProperties: true },
      },
    },
    refusals: [404],
    handle({ name, wantsBinary }, { service }) {
      const group = service.group(name);
      return mappingReply(group.epoch, group.live, wantsBinary);
    },
  },
  {
    method: 'post',
    path: '/v1/groups/{group}/loads',
    operationId: 'reportLoads',
    summary: 'report loads of a step, and which mapping went live',
    query: LOADS_QUERY,
    body: LOADS_SCHEMA,
    takesBytes: true,
    answers: { 200: { description: 'it was taken', schema: REPORT_ANSWER_SCHEMA } },
    refusals: [404, 409, 413, 415, 422],
    async handle({ name, parseBody, sent, query, isBinary }, { service }) {
      const body = parseBody();
      const group = service.group(name);
      const { topology } = group.balancer;
      const known = group.knownMappings();
      return json(
        await group.report(
          isBinary
            ? readLoadsBytes(sent.whole, query, topology, known)
            : readLoadsBody(body, topology, known),
        ),
      );
    },
  },
  {
    method: 'post',
    path: '/v1/groups/{group}/plan',
    operationId: 'plan',
    summary: 'plan from the loads of the body, or once for a planId from what was reported',
    query: PLAN_QUERY,
    body: PLAN_SCHEMA,
    takesBytes: true,
    givesBytes: true,
    answers: { 200: { description: 'the plan, or why there is none', schema: PLAN_ANSWER_SCHEMA } },
    refusals: [404, 409, 413, 415, 422],
    handle({ name, sent, query, isBinary, wantsBinary }, { service, desk }) {
      const group = service.group(name);
      const { topology } = group.balancer;
      const kind = planKindOf({ isBinary, wantsBinary, query });
      return desk.answer(group, kind, sent, async () => {
        const { transfer, ...question } = isBinary
          ? readPlanBytes(sent.whole, query, topology, group.knownMappings())
          : readPlanBody(parseJson(sent.whole), topology, group.knownMappings());
        // What is kept of a question is copied.
        const planned = group.plan({ ...question, saysBalance: !wantsBinary });
        const result = await planned.finally(() => sent.release());
        const isPure = question.loads !== undefined && result.reason !== 'paused';
        if (wantsBinary) return { reply: planBytes(result), isPure };
        const more = {
          group: name,
          ...(question.planId === undefined ? {} : { planId: question.planId }),
          ...(transfer ? { transfer: transferOf(group, question.previous, result) } : {}),
        };
        return { reply: json(planAnswer(result, more)), isPure };
      });
    },
  },
  modeRoute('pause', 'offer no plans until resumed: each is kept as it is'),
  modeRoute('resume', 'offer plans again'),
  {
    method: 'post',
    path: '/v1/groups/{group}/dry-run',
    operationId: 'setDryRun',
    summary: 'whether plans are only shown, and never offered',
    body: DRY_RUN_SCHEMA,
    answers: GROUP_ANSWER,
    refusals: [404, 413, 415, 422],
    async handle({ name, parseBody }, { service }) {
      const body = parseBody();
      const group = service.group(name);
      checkSchema('dry-run', DRY_RUN_SCHEMA, body);
      await group.setMode(body as { dryRun: boolean });
      return groupView(group);
    },
  },
  ...EPOCH_ROUTES,
  ...DASHBOARD_ROUTES,
];

/** The mapping in bytes, and the rest in headers. */
function planBytes({ status, reason, epoch, digest, previousDigest, moves, bytes }: GroupPlan): Reply {
  const headers = {
    'eplb-status': status,
    ...(reason === undefined ? {} : { 'eplb-reason': reason }),
    'eplb-epoch': String(epoch),
    'eplb-digest': digest,
    'eplb-previous-digest': previousDigest,
    'eplb-moves': String(moves),
  };
  return { status: 200, type: BINARY_TYPE, content: bytes, headers };
}

/** @throws EplbError `EPLB_STALE` when nobody knows any more what the plan was made from */
function transferOf(group: Group, previous: ExpertMapping | undefined, result: GroupPlan): object {
  const { numRanks, numNodes } = group.declaration;
  const { cost } = group;
  const from = previous ?? group.mappingAt(result.epoch);
  if (from?.digest() !== result.previousDigest) {
    const message = `plan: the mapping that it starts from, ${result.previousDigest}, is no longer known`;
    throw new EplbError('EPLB_STALE', message);
  }
  const more = cost === undefined ? {} : { cost };
  return planTransfer(group.lay(from), group.lay(result.mapping), { numRanks, numNodes, ...more }).toJSON();
}

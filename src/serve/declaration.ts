import { checkTopology } from '../core/check-topology.ts';
import { show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { domainsOfRanks } from '../core/failure-domains.ts';
import type { PlacementRules } from '../core/placement-rules.ts';
import { MAX_SIZE, type RankOptions, type Topology } from '../core/topology.ts';
import type { CostModelInit } from '../cost/cost-json.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { costModel } from '../cost/make.ts';
import { type RulesFile, rulesOfSizes } from '../formats/topology/rules-json.ts';
import {
  type DeviceTopology,
  type TopologyFile,
  topologyFromJson,
} from '../formats/topology/topology-json.ts';
import { type AbstractEplbPolicy, AdaptiveEplbPolicy } from '../index.ts';
import { checkPlannable } from '../policy/plannable.ts';
import { makePolicy, POLICY_NAMES } from '../policy/registry.ts';
import { checkSchema, type Schema } from './schema.ts';

/** What a group's name is. */
export const GROUP_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** @throws EplbRangeError `EPLB_RANGE` */
export function checkGroupName(title: string, name: string): void {
  if (GROUP_NAME.test(name)) return;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${title}: the name ${show(name)} does not match ${GROUP_NAME.source}`,
  );
}

/** What moves may cost at most, of one plan. */
export interface PlanBudgets {
  readonly maxMoves?: number;
  readonly maxMovesPerLayer?: number;
  readonly maxBytes?: number;
}

/** How long ranks may take to come to a new epoch, and what a lost one does to it: see docs/migration.md. */
export interface MigrationTimes {
  readonly prepareTimeoutMs?: number;
  readonly armTimeoutMs?: number;
  readonly activateTimeoutMs?: number;
  readonly resendMs?: number;
  readonly onLostRank?: 'abort' | 'exclude';
}

/** What a group may say of its ranks: as a balancer's options of these names. */
export type DeclaredRanks = Pick<RankOptions, 'slotsPerRank' | 'rankSpeed' | 'deadRanks' | 'nodeOfRank'>;

/** A group as it is declared: one model, or one part of a model, on the ranks of one engine. */
export interface GroupDeclaration extends DeclaredRanks {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /**
   * What the devices are: a topology file's content. What it says need not be said by the fields below, and
   * none may say otherwise. Default: the service's, where {@link numRanks} is not given either.
   */
  readonly topology?: TopologyFile;
  /** Needed where no topology has it. */
  readonly numPhysicalExperts?: number;
  /** Needed where no topology has it. */
  readonly numRanks?: number;
  /** Default 1. */
  readonly numNodes?: number;
  /** Default 1. */
  readonly numGroups?: number;
  /** 'default', 'locality' or 'adaptive'. Default 'default'. */
  readonly policy?: string;
  /** Steps that plans without loads look back on. Default 100. */
  readonly windowSize?: number;
  /** A preset, as `h200:deepseek-v3`, or a cost file's content: for `adaptive`, transfers and seconds. */
  readonly cost?: string | CostModelInit;
  /** Only with `adaptive`: the others move what their rule says. */
  readonly budgets?: PlanBudgets;
  /** Only with `adaptive`: the level of failures that as much load as can be is to survive. */
  readonly survive?: string;
  /** What every plan keeps to, whatever the loads are: the content of a file of rules. */
  readonly rules?: RulesFile;
  /** Plans are made and shown, and never offered. Default false. */
  readonly dryRun?: boolean;
  /** Default: as a coordinator's options of these names. */
  readonly migration?: MigrationTimes;
}

/** A declaration with nothing left out but what has no default. */
export type FullDeclaration = Required<
  Omit<
    GroupDeclaration,
    keyof DeclaredRanks | 'topology' | 'cost' | 'budgets' | 'survive' | 'rules' | 'migration'
  >
> &
  DeclaredRanks &
  Pick<GroupDeclaration, 'topology' | 'cost' | 'budgets' | 'survive' | 'rules' | 'migration'>;

const size = (description: string): Schema => ({
  type: 'integer',
  minimum: 1,
  maximum: MAX_SIZE,
  description,
});
const listOfNumbers = (type: 'integer' | 'number', description: string): Schema => ({
  type: 'array',
  items: { type },
  description,
});
const milliseconds = (description: string): Schema => ({
  type: 'number',
  minimum: 1,
  maximum: 86_400_000,
  description,
});
/** Layers, experts and ranks that all rules together may name: 128 MB of them. */
const MOST_IN_RULES = 2 ** 24;
const budget = (description: string): Schema => ({ type: 'number', minimum: 0, description });

/** A topology: what is in it is checked as that of a file is. */
export const TOPOLOGY_SCHEMA: Schema = {
  type: 'object',
  additionalProperties: true,
  description: "what the devices are: a topology file's content",
};

/** What `PUT /v1/groups/{group}` takes. */
export const DECLARATION_SCHEMA: Schema = {
  type: 'object',
  required: ['numLayers', 'numLogicalExperts'],
  properties: {
    numLayers: size('MoE layers'),
    numLogicalExperts: size('experts of the model, a layer'),
    topology: TOPOLOGY_SCHEMA,
    numPhysicalExperts: size('slots a layer; needed where no topology has them'),
    numRanks: size('devices; needed where no topology has them'),
    numNodes: size('sets of ranks that a fast network joins; 1 when left out'),
    numGroups: size('groups of experts that routing picks together; 1 when left out'),
    slotsPerRank: listOfNumbers('integer', 'slots of each rank that may hold an expert; all when left out'),
    rankSpeed: listOfNumbers('number', 'how fast each rank is, 1 as usual; all alike when left out'),
    deadRanks: listOfNumbers('integer', 'ranks that may hold nothing; none when left out'),
    nodeOfRank: listOfNumbers('integer', 'the node of each rank; nodes of equally many ranks when left out'),
    policy: { type: 'string', enum: POLICY_NAMES, description: "'default' when left out" },
    windowSize: size('steps that plans look back on; 100 when left out'),
    cost: {
      oneOf: [
        { type: 'string', maxLength: 200 },
        { type: 'object', additionalProperties: true },
      ],
      description: "a preset such as h200:deepseek-v3, or a cost file's content",
    },
    budgets: {
      type: 'object',
      properties: {
        maxMoves: budget('moves of a plan'),
        maxMovesPerLayer: budget('moves of a plan in a layer'),
        maxBytes: budget('bytes moved of a plan'),
      },
    },
    survive: {
      type: 'string',
      maxLength: 200,
      description: "'rank', 'node' or a level of the topology: failures that load is to survive",
    },
    rules: {
      type: 'object',
      additionalProperties: true,
      description: 'what plans keep to, whatever the loads are: the content of a file of rules',
    },
    dryRun: { type: 'boolean', description: 'plans are shown, and never offered' },
    migration: {
      type: 'object',
      properties: {
        prepareTimeoutMs: milliseconds('for all buffers, and then for the activation: 60,000 when left out'),
        armTimeoutMs: milliseconds('for the promises of ranks: 5,000 when left out'),
        activateTimeoutMs: milliseconds('for the swaps: 30,000 when left out'),
        resendMs: milliseconds('until a message is sent again: 250 when left out'),
        onLostRank: {
          ...{ type: 'string', enum: ['abort', 'exclude'] },
          description: "what a rank that is lost does to an attempt; 'abort' when left out",
        },
      },
    },
  },
};

/** What a group is made of. */
export interface GroupParts {
  readonly declaration: FullDeclaration;
  readonly topology: Topology;
  /** The same if no rank were dead. */
  readonly whole: Topology;
  readonly policy: AbstractEplbPolicy;
  readonly cost: CostModel | undefined;
}

/**
 * Reads a declaration and makes its policy and cost model.
 *
 * @param devices the topology of groups that name neither one nor their ranks
 * @throws EplbTypeError, EplbRangeError that name what is wrong
 */
export function readDeclaration(given: unknown, devices?: TopologyFile): GroupParts {
  checkSchema('group', DECLARATION_SCHEMA, given);
  const declared = given as GroupDeclaration;
  const { cost: costGiven, budgets, survive, rules: rulesGiven, migration } = declared;
  const { policy: policyName = 'default', windowSize = 100 } = declared;
  const { topology: file = declared.numRanks === undefined ? devices : undefined, dryRun = false } = declared;
  const { numLayers, numLogicalExperts } = declared;
  const { numPhysicalExperts, numRanks, numNodes = 1, numGroups = 1, ...more } = ranksOf(declared, file);
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks };
  const rules = rulesGiven && readRules(rulesGiven, sizes);
  const cost = costGiven === undefined ? undefined : costModel(costGiven);
  const policy = policyOf(policyName, cost, budgets, survive);
  const { deadRanks: _, ...others } = more;
  const ruled = { ...sizes, numNodes, numGroups, ...(rules && { rules }) };
  const topology = checkTopology({ ...ruled, ...more });
  // Rules that rest while ranks are dead may be too many if none were.
  const whole = checkTopology({ ...ruled, ...others }, { isWithoutDead: topology.deadRanks !== undefined });
  if (survive !== undefined) domainsOfRanks(topology, survive, 'group.survive');
  checkPlannable(policy.kernelRequest(), topology, { numSlots: numPhysicalExperts });
  return {
    declaration: {
      ...sizes,
      ...{ numNodes, numGroups, policy: policyName, windowSize, dryRun },
      ...declaredRanksOf(declared),
      // As it was given: a table of links may be far larger than what says it.
      ...(file === undefined ? {} : { topology: file }),
      ...(costGiven === undefined ? {} : { cost: costGiven }),
      ...(budgets === undefined ? {} : { budgets }),
      ...(survive === undefined ? {} : { survive }),
      ...(rulesGiven === undefined ? {} : { rules: rulesGiven }),
      ...(migration === undefined ? {} : { migration }),
    },
    topology,
    whole,
    policy,
    cost,
  };
}

/**
 * What a declaration and a topology say of the ranks together.
 *
 * @throws EplbTypeError, EplbRangeError for a topology that cannot be, fields that say otherwise than it, and
 * sizes that neither has
 */
function ranksOf(declared: GroupDeclaration, file: TopologyFile | undefined) {
  const told: Partial<DeviceTopology> = file === undefined ? {} : topologyFromJson(file, 'group.topology');
  const { numPhysicalExperts, numRanks, numNodes, numGroups } = declared;
  const typed = { numPhysicalExperts, numRanks, numNodes, numGroups, ...declaredRanksOf(declared) };
  const own = Object.entries(typed).filter(([, value]) => value !== undefined);
  for (const [name, value] of own) {
    const other = Object.hasOwn(told, name) ? JSON.stringify(Reflect.get(told, name)) : undefined;
    if (other === undefined || other === JSON.stringify(value)) continue;
    const message = `group.${name}: ${show(value)}, but group.topology has ${other.slice(0, 100)}`;
    throw new EplbRangeError('EPLB_OPTION', message);
  }
  const both: Partial<DeviceTopology> = { ...told, ...Object.fromEntries(own) };
  return {
    ...both,
    numPhysicalExperts: needed(both, 'numPhysicalExperts'),
    numRanks: needed(both, 'numRanks'),
  };
}

/** Of what topologies say of ranks, what stands in a declaration in the same words. */
function declaredRanksOf({ slotsPerRank, rankSpeed, deadRanks, nodeOfRank }: DeclaredRanks): DeclaredRanks {
  return {
    ...(slotsPerRank && { slotsPerRank }),
    ...(rankSpeed && { rankSpeed }),
    ...(deadRanks && { deadRanks }),
    ...(nodeOfRank && { nodeOfRank }),
  };
}

/** @throws EplbTypeError, EplbRangeError; `EPLB_RANGE` for rules that name more than there is room for */
function readRules(
  given: RulesFile,
  sizes: Pick<Topology, 'numLayers' | 'numLogicalExperts' | 'numRanks'>,
): PlacementRules {
  const { pinned, neverReplicated } = given;
  const { numLayers, numLogicalExperts, numRanks } = sizes;
  const numRules = [pinned, neverReplicated].reduce((sum, list) => sum + (list?.length ?? 0), 0);
  const most = Math.floor(MOST_IN_RULES / (numLayers + numLogicalExperts + numRanks));
  if (numRules > most) {
    throw new EplbRangeError(
      'EPLB_RANGE',
      `group.rules: has ${numRules} rules; groups of these sizes may have ${most}`,
    );
  }
  return rulesOfSizes(given, 'group.rules', sizes);
}

function needed(both: Partial<DeviceTopology>, name: 'numPhysicalExperts' | 'numRanks'): number {
  const value = both[name];
  if (value !== undefined) return value;
  throw new EplbTypeError('EPLB_KIND', `group: ${name} is missing`);
}

function policyOf(
  name: string,
  cost: CostModel | undefined,
  budgets: PlanBudgets | undefined,
  survive: string | undefined,
): AbstractEplbPolicy {
  if (name === 'adaptive') {
    const goal = survive === undefined ? {} : { survive };
    return new AdaptiveEplbPolicy({ ...budgets, ...goal, ...(cost === undefined ? {} : { cost }) });
  }
  if (survive !== undefined) {
    const message = `group.survive: the policy '${name}' cannot plan for failures; 'adaptive' can`;
    throw new EplbRangeError('EPLB_OPTION', message);
  }
  if (budgets !== undefined && Object.keys(budgets).length > 0) {
    const message = `group.budgets: the policy '${name}' has no limit on moves; 'adaptive' has`;
    throw new EplbRangeError('EPLB_OPTION', message);
  }
  const policy = makePolicy(name, {});
  if (policy !== undefined) return policy;
  throw new EplbTypeError('EPLB_OPTION', `group.policy: there is no policy '${name}'`);
}

/** Whether two declarations say the same. */
export function sameDeclaration(a: FullDeclaration, b: FullDeclaration): boolean {
  return canonical(a) === canonical(b);
}

/** What a group may say otherwise once it has more or fewer ranks. */
const RANK_FIELDS: readonly string[] = [
  ...['numRanks', 'numPhysicalExperts', 'numNodes', 'slotsPerRank', 'rankSpeed', 'deadRanks', 'nodeOfRank'],
  ...['topology', 'rules'],
];

/** Whether two declarations say the same but for ranks, of which they have more or fewer. */
export function differsByRanks(a: FullDeclaration, b: FullDeclaration): boolean {
  const others = (of: FullDeclaration) =>
    canonical(Object.fromEntries(Object.entries(of).filter(([name]) => !RANK_FIELDS.includes(name))));
  return a.numRanks !== b.numRanks && others(a) === others(b);
}

/** JSON with the names of all objects in order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, own: unknown) =>
    typeof own === 'object' && own !== null && !Array.isArray(own)
      ? Object.fromEntries(Object.entries(own).sort(([a], [b]) => (a < b ? -1 : 1)))
      : own,
  );
}

/** Bytes that a group may come to need, of which the window is most, and beside it the last plans. */
export function bytesOfGroup(group: FullDeclaration): number {
  const { numLayers, numPhysicalExperts, numRanks, windowSize, topology } = group;
  const BYTES_A_LOAD = 6;
  const SAMPLES_AND_TABLES = 384;
  // Of each the loads that it was made for, and its mapping's tables.
  const LAST_PLANS = 32 * 16;
  const BYTES_A_LINK = 8;
  const links = topology?.linkClasses === undefined ? 0 : numRanks * numRanks * BYTES_A_LINK;
  return (
    numLayers * numPhysicalExperts * (windowSize * BYTES_A_LOAD + SAMPLES_AND_TABLES + LAST_PLANS) + links
  );
}

import { checkTopology } from '../core/check-topology.ts';
import { checkAtLeast, checkNumber, checkObject, checkText, checkWhole, show } from '../core/checks.ts';
import { checkDispatch } from '../core/dispatch.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import { MAX_SIZE, RANK_OPTIONS, type RankOptions, rankOptionsOf } from '../core/topology.ts';
import { checkRange } from '../formats/check-recording.ts';
import type { StepRange } from '../formats/recording.ts';
import { type AbstractEplbPolicy, type Dispatch, ExpertMapping, type Topology } from '../index.ts';
import { checkMapping } from '../mapping/expert-mapping.ts';
import { isPolicy } from '../policy/is-policy.ts';
import { checkPlannable } from '../policy/plannable.ts';
import type { ReplayConfiguration, TriggerOptions } from './configuration.ts';
import { DEFAULT_DEVICE, modelLike, type ReplayCostInit, replayCost } from './cost-presets.ts';
import { fixedPlanningSeconds } from './planning-time.ts';
import { type RankChange, type RankEvent, rankTimeline } from './rank-events.ts';
import { requestOf } from './survivors.ts';

/** How a recording is replayed. */
export interface ReplayOptions extends RankOptions {
  /** Slots per layer, at least as many as the recording's experts. */
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** Default 1. */
  readonly numNodes?: number;
  /** Default 1. */
  readonly numGroups?: number;
  /**
   * Ranks that die, come back, slow down or join during the replay. The slots of a dead rank are repaired
   * before the next step, and after that step a plan is made for the ranks that are there. A policy that
   * cannot plan for them (closed slots, speeds) plans as if the live ranks were all there are, and equally
   * fast, as engines do.
   */
  readonly events?: readonly RankEvent[];
  /**
   * Which copy of an expert a token takes. Loads, time and traffic are counted by it, with tokens starting
   * evenly on all ranks. Default 'even'. A policy plans for its own kind of dispatch: an AdaptiveEplbPolicy
   * with `dispatch: 'nearest'` for that, all others for even dispatch.
   */
  readonly dispatch?: Dispatch;
  /**
   * A policy; a module URL, whose policy runs in a thread of its own; or `static`, which never plans. A
   * policy that has a property `layerOrder`, read after each plan, has its layers changed in that order; else
   * it is by index.
   */
  readonly policy: AbstractEplbPolicy | URL | 'static';
  /** The name of the policy in the result; by default its own name, or the file name of the module. */
  readonly policyName?: string;
  /** The name of the result; by default the name of the policy. */
  readonly name?: string;
  /** Number of past steps that plans use; by default `trigger.interval`, at most 1,024, or else 32. */
  readonly windowSize?: number;
  /** When plans are made; every 32 steps by default. */
  readonly trigger?: TriggerOptions;
  /**
   * Seconds that every plan is assumed to take. With 'fixed', the default, it is {@link fixedPlanningSeconds}
   * of the policy, so that results do not differ from run to run. With 'measured', each plan counts with the
   * seconds that it took.
   */
  readonly planningSeconds?: number | 'fixed' | 'measured';
  /** Number of layers that change to a new mapping in one step; default 1. */
  readonly layersPerStep?: number;
  /**
   * What steps and moves cost: a cost model, its object, or the name of a preset. By default an H200 with the
   * known model that has as many layers and experts as the recording, or else with DeepSeek-V3.
   */
  readonly cost?: ReplayCostInit;
  /**
   * The mapping to begin with. By default expert i is in slot i, and the redundant slots repeat the experts
   * from 0 on.
   */
  readonly start?: ExpertMapping;
  /** The part of the recording to replay; by default all of it. */
  readonly steps?: StepRange;
  /** Worker threads that make plans. Default 0, the calling thread, or 1 for a module URL. */
  readonly threads?: number;
  /** Called after every step. If it returns false, the replay ends with the result of the steps so far. */
  readonly onStep?: (progress: ReplayProgress) => boolean | undefined;
}

/** How far a replay has come. */
export interface ReplayProgress {
  /** Steps replayed so far. */
  readonly numSteps: number;
  /** Bytes of the recording read. */
  readonly bytesRead: number;
  readonly numPlans: number;
}

/** Options that are checked and complete. */
export interface ReplaySettings {
  readonly name: string;
  /** At the beginning; its tables have the slots of all ranks that ever come. */
  readonly topology: Topology;
  /** The ranks at the beginning alone. */
  readonly atFirst: Topology;
  /** By step. */
  readonly changes: readonly RankChange[];
  readonly configuration: ReplayConfiguration;
  readonly policy: AbstractEplbPolicy | URL | 'static';
  readonly start: ExpertMapping | undefined;
  readonly threads: number;
}

/** Steps between plans, and in the window, when nothing is said. */
const DEFAULT_INTERVAL = 32;
const MAX_DEFAULT_WINDOW = 1024;

const NAMES = [
  ...[
    'numPhysicalExperts',
    'numRanks',
    'numNodes',
    'numGroups',
    'policy',
    'policyName',
    'events',
    'dispatch',
  ],
  ...RANK_OPTIONS,
  ...['name', 'windowSize', 'trigger', 'planningSeconds', 'layersPerStep', 'cost', 'start', 'steps'],
  ...['threads', 'onStep'],
  // Of a balancer's sizes, given whole: the recording has them.
  ...['numLayers', 'numLogicalExperts'],
];

/**
 * Checks options and fills in what is left out.
 *
 * @throws EplbTypeError and EplbRangeError, naming the option
 */
export function readReplayOptions(
  options: ReplayOptions,
  sizes: { readonly numLayers: number; readonly numLogicalExperts: number },
): ReplaySettings {
  checkKnownKeys('options', checkObject('options', options), NAMES);
  checkPolicy(options.policy);
  const { numPhysicalExperts, numRanks, numNodes = 1, numGroups = 1, policy } = options;
  const given = { ...sizes, numPhysicalExperts, numRanks, numNodes, numGroups };
  const atFirst = checkTopology({ ...given, ...rankOptionsOf(options) });
  const dispatch = checkDispatch(options.dispatch);
  checkPlannable(requestOf(policy), atFirst, { numSlots: numPhysicalExperts });
  const { topology, changes } = rankTimeline(options.events ?? [], atFirst);
  const events = changes.flatMap((change) => change.events);
  const isStatic = policy === 'static';
  const trigger = readTrigger(options.trigger, isStatic);
  const { interval = DEFAULT_INTERVAL } = trigger;
  const windowSize = options.windowSize ?? Math.min(interval, MAX_DEFAULT_WINDOW);
  const policyName = checkText('policyName', options.policyName ?? nameOf(policy));
  if (options.start !== undefined) checkMapping('start', options.start);
  if (options.steps !== undefined) checkRange('steps', options.steps);
  if (options.onStep !== undefined && typeof options.onStep !== 'function') {
    throw new EplbTypeError('EPLB_KIND', `onStep: ${show(options.onStep)} is not a function`);
  }
  const { planningSeconds = 'fixed', layersPerStep = 1, threads = policy instanceof URL ? 1 : 0 } = options;
  if (planningSeconds !== 'measured' && planningSeconds !== 'fixed') {
    checkAtLeast('planningSeconds', planningSeconds, 0);
  }
  return {
    name: checkText('name', options.name ?? policyName),
    topology,
    atFirst,
    changes,
    policy,
    start: options.start && widened(options.start, atFirst, topology),
    threads: checkWhole('threads', threads, 0, 1024),
    configuration: {
      policy: policyName,
      ...surviveOf(policy),
      numPhysicalExperts: atFirst.numPhysicalExperts,
      numRanks,
      numNodes,
      numGroups,
      ...rankOptionsOf(atFirst),
      ...(events.length === 0 ? {} : { events }),
      ...(dispatch === 'even' ? {} : { dispatch }),
      windowSize: checkWhole('windowSize', windowSize, 1, MAX_SIZE),
      trigger,
      planningSeconds:
        planningSeconds === 'fixed' ? fixedPlanningSeconds(nameOf(policy), atFirst) : planningSeconds,
      layersPerStep: checkWhole('layersPerStep', layersPerStep, 1),
      cost: replayCost('cost', options.cost ?? `${DEFAULT_DEVICE}:${modelLike(sizes).name}`),
    },
  };
}

/** A mapping with empty slots for the ranks that are to come. What has other sizes is refused later. */
function widened(start: ExpertMapping, atFirst: Topology, topology: Topology): ExpertMapping {
  const { numLayers, numLogicalExperts, numPhysicalExperts } = start;
  const width = topology.numPhysicalExperts;
  if (width === atFirst.numPhysicalExperts || numPhysicalExperts !== atFirst.numPhysicalExperts) return start;
  const phyToLog = new Int32Array(numLayers * width).fill(-1);
  const slots = start.phyToLog;
  for (let layer = 0; layer < numLayers; layer++) {
    const first = layer * numPhysicalExperts;
    phyToLog.set(slots.subarray(first, first + numPhysicalExperts), layer * width);
  }
  return new ExpertMapping({ phyToLog, numLayers, numLogicalExperts });
}

/**
 * Checks the conditions. A static placement has none.
 *
 * @throws EplbTypeError and EplbRangeError, naming the condition
 */
function readTrigger(trigger: TriggerOptions | undefined, isStatic: boolean): TriggerOptions {
  if (isStatic) {
    if (trigger !== undefined) {
      throw new EplbRangeError('EPLB_RANGE', 'trigger: the static placement is never planned anew');
    }
    return {};
  }
  if (trigger === undefined) return { interval: DEFAULT_INTERVAL };
  if (typeof trigger !== 'object' || trigger === null) {
    throw new EplbTypeError('EPLB_KIND', `trigger: ${show(trigger)} is not an object of conditions`);
  }
  checkKnownKeys('trigger', trigger, ['interval', 'loadThreshold', 'drift', 'require', 'checkEvery']);
  const { interval, loadThreshold, drift, require, checkEvery } = trigger;
  if (interval === undefined && loadThreshold === undefined && drift === undefined) {
    throw new EplbRangeError('EPLB_RANGE', 'trigger: names no condition: interval, loadThreshold or drift');
  }
  if (interval !== undefined) checkWhole('trigger.interval', interval, 1);
  if (loadThreshold !== undefined) checkAtLeast('trigger.loadThreshold', loadThreshold, 1);
  if (drift !== undefined && !(checkNumber('trigger.drift', drift) >= 0 && drift <= 1)) {
    throw new EplbRangeError('EPLB_RANGE', `trigger.drift: ${drift} is not from 0 to 1`);
  }
  if (require !== undefined && require !== 'any' && require !== 'all') {
    throw new EplbRangeError('EPLB_RANGE', `trigger.require: ${show(require)} is neither "any" nor "all"`);
  }
  if (checkEvery !== undefined) checkWhole('trigger.checkEvery', checkEvery, 1);
  return {
    ...(interval === undefined ? {} : { interval }),
    ...(loadThreshold === undefined ? {} : { loadThreshold }),
    ...(drift === undefined ? {} : { drift }),
    ...(require === undefined ? {} : { require }),
    ...(checkEvery === undefined ? {} : { checkEvery }),
  };
}

function checkPolicy(policy: unknown): void {
  if (policy === 'static' || policy instanceof URL || isPolicy(policy)) return;
  const wanted = `'static', a module URL or an object with rebalanceExperts`;
  throw new EplbTypeError('EPLB_KIND', `policy: ${show(policy)} is not ${wanted}`);
}

/** What the adaptive policy plans for beside balance. */
function surviveOf(policy: ReplayOptions['policy']): { readonly survive?: string } {
  const request = requestOf(policy);
  const level = request !== undefined && 'survive' in request ? request.survive : undefined;
  return typeof level === 'string' ? { survive: level } : {};
}

function nameOf(policy: AbstractEplbPolicy | URL | 'static'): string {
  if (policy === 'static') return policy;
  return policy instanceof URL ? decodeURIComponent(policy.pathname.split('/').at(-1) ?? '') : policy.name;
}

import { checkTopology } from '../core/check-topology.ts';
import { checkAtLeast, checkText, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import { MAX_SIZE, RANK_OPTIONS, type RankOptions, rankOptionsOf, type Topology } from '../core/topology.ts';
import { MOST_THREADS, usableCores } from '../engine/cores.ts';
import type { KernelRequest } from '../engine/plan-job.ts';
import { type AbstractEplbPolicy, USUAL_SAMPLES } from '../policy/abstract.ts';
import { DefaultEplbPolicy } from '../policy/default.ts';
import { isPolicy } from '../policy/is-policy.ts';
import { kernelOf } from '../policy/kernels.ts';
import { checkPlannable } from '../policy/plannable.ts';
import { changedTopology, type TopologyChange } from './topology-change.ts';

const NAMES = [
  ...['numLayers', 'numLogicalExperts', 'numPhysicalExperts', 'numRanks', 'numNodes', 'numGroups'],
  ...['policy', 'policyGraceMs', 'windowSize', 'threads', 'idle', 'name'],
  ...RANK_OPTIONS,
];

/**
 * The options of a balancer. A policy may support only some properties of ranks (`slotsPerRank`, `rankSpeed`
 * and so on, see {@link Topology}). The constructor refuses the ones that the policy cannot plan.
 */
export interface ExpertLoadBalancerOptions extends RankOptions {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
  /**
   * Slots per layer: at least as many as experts. If the number is not a multiple of `numRanks`, the first
   * ranks have one slot more than the others, and tables have that larger number for every rank.
   */
  readonly numPhysicalExperts: number;
  readonly numRanks: number;
  /** Nodes, within which links are fast; 1 by default. */
  readonly numNodes?: number;
  /** Groups of experts that routing picks together, 1 by default. */
  readonly numGroups?: number;
  /**
   * Decides where experts go; the default policy if left out. An object with a kernel, as those of this
   * library have, plans in the pool. Any other object plans in this thread. A module URL (its export
   * `policy`, or its default export) plans in a thread of the pool.
   *
   * A policy in this thread blocks it until the policy returns. Nothing can interrupt it, neither a plan's
   * signal nor `close`. That holds for an object without a kernel, and for every policy with `threads: 0` or
   * in `rebalanceSync`. If a policy may not return, give a module URL: see {@link policyGraceMs}. A policy of
   * your own gets copies, in frozen objects: writing to them changes nothing. This is not a sandbox: the
   * policy's module may do whatever any module of the process may do.
   */
  readonly policy?: AbstractEplbPolicy | URL;
  /**
   * Milliseconds within which a policy given as a module URL has to return once its plan's signal is aborted
   * or the balancer is closed; 5,000 by default. If it returns in time, the plan is rejected with
   * `EPLB_CANCELLED`, and the thread is kept. If it does not, or if its module is still loading, the threads
   * are ended, whatever they are doing, and the next plan gets new ones. The plan is then rejected with
   * `EPLB_POLICY`. A closed balancer's plan is rejected with `EPLB_CLOSED` in both cases.
   *
   * A thread inside a call of the system, such as `execSync`, ends when that call returns. Plans and `close`
   * do not wait for it, but the process cannot exit before.
   */
  readonly policyGraceMs?: number;
  /** Number of past steps that averages and plans use; 100 by default. */
  readonly windowSize?: number;
  /**
   * The most worker threads that a plan may use, out of those that all balancers of this thread share. The
   * default, and the limit, is the number of cores that the process may use. A plan wakes only as many
   * threads as are worth it, and threads start when a plan first needs them. With 0, plans are made in this
   * thread. A policy that is given as a module URL has a thread of its own.
   */
  readonly threads?: number;
  /**
   * What the worker threads do after a plan. 'park' sleeps until the next plan. 'spin' first keeps the cores
   * busy for 50 ms, so that a plan within that time begins some 30 us sooner; it is for hosts that plan
   * without a pause and have cores to spare. Default 'park'.
   */
  readonly idle?: 'park' | 'spin';
  /** Its name in events and metrics. Default 'balancer'. */
  readonly name?: string;
}

/** Options that are checked and complete. */
export interface BalancerSettings {
  readonly topology: Topology;
  /** The same if no rank were dead. */
  readonly whole: Topology;
  readonly windowSize: number;
  readonly policy: AbstractEplbPolicy | URL;
  /** The policy's kernel, for policies that have one. */
  readonly request: KernelRequest | undefined;
  /** What samples the policy wants: of one given as a URL that is not known, and 0. */
  readonly maxSamples: number;
  readonly rememberedSteps: number;
  /**
   * Worker threads; 0 when plans are made in the balancer's own, as for a policy without a kernel or a URL.
   */
  readonly threads: number;
  /** Threads that a plan by the policy's kernel can have: no more than cores, and than it has claims. */
  readonly maxWorkers: number;
  readonly idle: 'park' | 'spin';
  readonly name: string;
  readonly policyGraceMs: number;
}

/**
 * Checks options, each read once, and fills in what is left out.
 * @throws as the constructor of ExpertLoadBalancer
 */
export function readOptions(options: ExpertLoadBalancerOptions): BalancerSettings {
  if (typeof options !== 'object' || options === null) {
    throw new EplbTypeError('EPLB_KIND', `options: ${show(options)} is not an object of sizes`);
  }
  checkKnownKeys('options', options, NAMES);
  const { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes = 1, numGroups = 1 } = options;
  const { windowSize = 100, policy = new DefaultEplbPolicy(), threads: givenThreads } = options;
  const { policyGraceMs = 5000, idle = 'park', name = 'balancer' } = options;
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups };
  // Each is read once: what is checked again below is a copy.
  const { deadRanks, ...others } = rankOptionsOf(options);
  const whole = checkTopology({ ...sizes, ...others }, { isWithoutDead: deadRanks !== undefined });
  const topology = deadRanks === undefined ? whole : checkTopology({ ...whole, deadRanks });
  checkWhole('windowSize', windowSize, 1, MAX_SIZE);
  const threads = checkWhole(
    'threads',
    givenThreads ?? Math.min(usableCores(), MOST_THREADS),
    0,
    MOST_THREADS,
  );
  if (idle !== 'park' && idle !== 'spin') {
    throw new EplbRangeError('EPLB_RANGE', `idle: ${show(idle)} is neither 'park' nor 'spin'`);
  }
  checkAtLeast('policyGraceMs', policyGraceMs, 0);
  checkText('name', name);
  const settings = { topology, whole, windowSize, policy, policyGraceMs, idle, name };
  if (policy instanceof URL) {
    const none = { request: undefined, maxSamples: 0, rememberedSteps: 0, maxWorkers: 0 };
    if (threads > 0) return { ...settings, ...none, threads };
    const message = 'threads: 0 has no thread for a policy that is given as a module URL';
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  if (!isPolicy(policy)) {
    throw new EplbTypeError('EPLB_KIND', `policy: ${show(policy)} is neither a policy nor a module URL`);
  }
  const request = policy.kernelRequest?.();
  const samples = samplesFor(policy, request);
  if (request === undefined) return { ...settings, request, ...samples, threads: 0, maxWorkers: 0 };
  const kernel = kernelOf(request);
  checkPlannable(request, topology, { numSlots: numPhysicalExperts });
  const numClaims = Math.ceil(topology.numLayers / kernel.layersPerClaim);
  const maxWorkers = threads === 0 ? 0 : Math.min(threads, usableCores(), numClaims);
  return { ...settings, request, ...samples, threads, maxWorkers };
}

/** The same for other ranks. @throws as {@link changedTopology}; EplbRangeError `EPLB_TOPOLOGY` */
export function changedSettings(settings: BalancerSettings, change: TopologyChange): BalancerSettings {
  const changed = changedTopology(settings, change);
  checkPlannable(settings.request, changed.topology);
  return { ...settings, ...changed };
}

/**
 * The samples that a policy wants. A kernel has room for those of its request, whatever the policy's object
 * says.
 */
function samplesFor(
  policy: AbstractEplbPolicy,
  request: KernelRequest | undefined,
): Pick<BalancerSettings, 'maxSamples' | 'rememberedSteps'> {
  const { needs, rememberedSteps = 0 } = policy;
  const { maxSamples = 0 } = policy;
  const wanted = needs?.samples && maxSamples === 0 ? USUAL_SAMPLES : maxSamples;
  checkWhole('policy.maxSamples', wanted, 0, MAX_SIZE);
  checkWhole('policy.rememberedSteps', rememberedSteps, 0, MAX_SIZE);
  return { maxSamples: request?.maxSamples ?? wanted, rememberedSteps };
}

import { resolve } from 'node:path';
import { checkMultiple } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { domainsOfRanks } from '../../core/failure-domains.ts';
import type { Topology } from '../../core/topology.ts';
import { quotePath } from '../../formats/text.ts';
import { checkClosedSlots } from '../../policy/closed-slots.ts';
import {
  COMPETITION,
  COMPETITION_INTERVAL,
  type RankEvent,
  type ReplayCost,
  type TriggerOptions,
} from '../../replay/index.ts';
import { rankTimeline } from '../../replay/rank-events.ts';
import type { PlacedDevices } from '../device-options.ts';
import { sourceNotes } from '../dispatch-option.ts';
import { sayingErrors } from '../error-message.ts';
import { contradiction } from '../option-values.ts';
import { readStartingPlacement } from '../placement-files.ts';
import { choosePolicy } from '../policy-choice.ts';
import { inOptions, topologyFrom } from '../topology-options.ts';
import { chooseCost } from './cost-choice.ts';
import { eventsInOptions, type ReplayEvents } from './event-options.ts';
import { lookAt, type RecordingSetup } from './look-at.ts';
import { type CommonReplayOptions, triggerOf } from './options.ts';
import { newControl, type ReplayTask } from './task.ts';

/** A recording with the cost model. */
export interface ReplaySetup extends RecordingSetup {
  readonly cost: ReplayCost;
}

/** What one replay differs in from the others. */
interface Variant {
  readonly policy: string;
  /** The option that names it; `--policy` when left out. */
  readonly policyOption?: string;
  readonly devices: PlacedDevices;
  readonly events?: ReplayEvents | undefined;
  /** The level of failures that the policy's plans are to survive. */
  readonly survive?: string | undefined;
  readonly interval: number | undefined;
  readonly name: string;
  /** The file of the placement to begin with. */
  readonly startFrom?: string | undefined;
}

const NO_EVENTS: ReplayEvents = { events: [], typed: [] };

/** {@link lookAt}, and the cost. */
export async function setUp(
  path: string,
  options: CommonReplayOptions & { readonly startFrom?: string },
  numRanks: number,
): Promise<ReplaySetup> {
  const setup = await lookAt(path, options, numRanks);
  const { cost, notes } = await chooseCost(options, setup.facts);
  const ofSources = sourceNotes(setup.numSourceRanks, numRanks, options.dispatch);
  const facts = { ...setup.facts, notes: [...setup.facts.notes, ...notes, ...ofSources] };
  return { ...setup, facts, cost };
}

/**
 * Checks a variant and makes the task that replays it.
 *
 * @throws EplbError and its subclasses, naming the option
 */
export async function taskOf(
  setup: ReplaySetup,
  variant: Variant,
  options: CommonReplayOptions,
): Promise<ReplayTask> {
  const { policy, devices, interval, name, startFrom, survive, events = NO_EVENTS } = variant;
  const chosen = await chosenPolicy(variant);
  const topology = topologyFrom(setup.facts, devices, chosen === 'static' ? undefined : chosen);
  const isStatic = policy === 'static';
  const isCompetition = setup.cost.name === COMPETITION.name && options.cost === COMPETITION.name;
  if (setup.cost.name === COMPETITION.name) refuseUneven(devices, events.events);
  if (isNearest(options) && setup.cost.name === COMPETITION.name)
    throw contradiction('--dispatch: --cost competition counts even dispatch');
  if (survive !== undefined) domainsOfRanks(topology, survive, '--survive');
  sayingErrors(
    (message) => inOptions(eventsInOptions(message, events), devices.source),
    () => rankTimeline(events.events, topology),
  );
  const given = triggerOf(options, interval);
  const planningSeconds = options.planningTime ?? options.planningSeconds;
  const trigger: TriggerOptions | undefined =
    given ?? (isCompetition ? { interval: COMPETITION_INTERVAL } : undefined);
  return {
    path: setup.path,
    open: setup.open,
    times: setup.batch.times,
    ...(startFrom === undefined ? {} : { from: resolve(startFrom) }),
    policy: chosen instanceof URL ? chosen.href : policy,
    ...(survive === undefined ? {} : { survive }),
    start: await startOf(setup, variant, topology, isCompetition),
    control: newControl(),
    options: {
      numPhysicalExperts: devices.slots,
      numRanks: devices.ranks,
      numNodes: devices.nodes,
      numGroups: devices.groups,
      ...devices.rankOptions,
      ...(events.events.length === 0 ? {} : { events: events.events }),
      ...(options.dispatch === undefined ? {} : { dispatch: options.dispatch }),
      layersPerStep: options.layersPerStep,
      cost: setup.cost,
      steps: setup.range,
      name,
      policyName: policy,
      ...(isStatic || trigger === undefined ? {} : { trigger }),
      ...(options.window === undefined ? {} : { windowSize: options.window }),
      ...(planningSeconds === undefined ? {} : { planningSeconds }),
    },
  };
}

function isNearest({ dispatch }: CommonReplayOptions): boolean {
  return dispatch === 'nearest';
}

async function chosenPolicy({ policy, policyOption = '--policy' }: Variant) {
  if (policy === 'static') return policy;
  return choosePolicy(policy, undefined, {}, { name: policyOption, others: ['static'] });
}

/** The competition's yardstick compares with a policy that knows only ranks that are alike. */
function refuseUneven(devices: PlacedDevices, events: readonly RankEvent[]): void {
  const { slots, ranks, nodes, rankOptions, source } = devices;
  const isEven = Object.keys(rankOptions).length === 0;
  if (isEven && events.length === 0) {
    const why = 'the default policy that --cost competition compares with deals them evenly';
    checkMultiple('--slots', slots, '--ranks', ranks, why);
    checkMultiple('--ranks', ranks, '--nodes', nodes, why);
    return;
  }
  throw contradiction(
    `${isEven ? `--${events[0]!.kind}` : source}: --cost competition compares with the default policy, which fills all slots`,
  );
}

async function startOf(
  { layers }: ReplaySetup,
  { startFrom }: Variant,
  topology: Topology,
  isCompetition: boolean,
): Promise<ReplayTask['start']> {
  if (startFrom !== undefined) {
    const mapping = await readStartingPlacement(startFrom, topology, layers);
    const { phyToLog } = mapping;
    checkClosedSlots(`--start-from: ${quotePath(startFrom)}`, phyToLog, topology);
    return phyToLog;
  }
  if (!isCompetition) return 'initial';
  const { numLogicalExperts, numRanks } = topology;
  if (numLogicalExperts % numRanks === 0) return 'competition';
  throw new EplbRangeError(
    'EPLB_TOPOLOGY',
    `--ranks: ${numRanks} does not divide the ${numLogicalExperts} experts, as the competition's first ` +
      'table needs',
  );
}

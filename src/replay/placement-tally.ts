import { checkTopology } from '../core/check-topology.ts';
import { checkObject, slotsPerRankOf } from '../core/checks.ts';
import { checkDispatch } from '../core/dispatch.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkKnownKeys } from '../core/known-keys.ts';
import { RANK_OPTIONS, rankOptionsOf, type Topology } from '../core/topology.ts';
import type { CostModel, Dispatch } from '../index.ts';
import { checkMapping } from '../mapping/expert-mapping.ts';
import { initialSlots } from '../mapping/initial-slots.ts';
import type { InspectedPlacement, PlacementInspection } from './inspection.ts';
import { scaledTraffic } from './replay-traffic.ts';
import { Scorer } from './scorer.ts';
import { SourceDispatch, SourceSum } from './source-dispatch.ts';
import { BalanceTally } from './tally.ts';
import { MOST_TRAFFIC_RANKS, TrafficTally } from './traffic-tally.ts';

const NAMES = ['mapping', 'numPhysicalExperts', 'numRanks', 'numNodes', 'dispatch', ...RANK_OPTIONS];

/** What a placement makes of the steps of a recording. */
export class PlacementTally {
  readonly #topology: Topology;
  readonly #dispatch: Dispatch;
  readonly #scorer: Scorer;
  readonly #balance: BalanceTally;
  readonly #noUnits: Float64Array;
  readonly #traffic: TrafficTally | undefined;
  readonly #hasRoutes: boolean;
  readonly #sources: SourceDispatch | undefined;

  /**
   * @param given as the user gave it
   * @param recorded whether {@link addRoutes} is to come, and of how many ranks there are loads by rank
   * @throws EplbTypeError, EplbRangeError for sizes that do not fit the recording, naming the option
   */
  constructor(
    given: InspectedPlacement,
    sizes: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
    recorded: { readonly hasRoutes: boolean; readonly numSourceRanks: number | undefined },
  ) {
    checkKnownKeys('placement', checkObject('placement', given), NAMES);
    this.#dispatch = checkDispatch(given.dispatch, 'placement.dispatch');
    const { topology, slots } = readPlacement(given, sizes);
    this.#topology = topology;
    this.#hasRoutes = recorded.hasRoutes;
    const { numSourceRanks } = recorded;
    const isBySource = numSourceRanks === topology.numRanks;
    this.#sources = isBySource
      ? new SourceDispatch(numSourceRanks, topology, undefined, this.#dispatch)
      : undefined;
    const isCounted = topology.numRanks <= MOST_TRAFFIC_RANKS;
    this.#scorer = new Scorer(topology, {
      ...{ numPlacements: 1, zeroLoadsCountAsOne: false, dispatch: this.#dispatch },
      ...{ sources: this.#sources, numSums: Number(isCounted) },
    });
    const [placement] = this.#scorer.placements;
    const [sum] = this.#scorer.sums;
    placement!.assign(slots);
    this.#balance = new BalanceTally(topology.numLayers);
    this.#noUnits = new Float64Array(topology.numLayers);
    const trafficSum = sum && (this.#sources === undefined ? sum : new SourceSum(this.#sources));
    this.#traffic =
      trafficSum && new TrafficTally(topology, this.#dispatch, placement!, trafficSum, isBySource);
  }

  /** Whether {@link addLoads} wants loads by rank. */
  get takesSources(): boolean {
    return this.#sources !== undefined;
  }

  /**
   * Adds a step's loads [layers x logical], checked.
   * @param sourceLoads [layers x ranks x logical], where they are wanted, checked
   */
  addLoads(loads: Float32Array, sourceLoads?: Float32Array): void {
    if (sourceLoads !== undefined) this.#sources?.takeStep(sourceLoads);
    this.#scorer.loads.set(loads);
    this.#balance.add(this.#scorer.score(0).stats, this.#noUnits);
    if (!this.#hasRoutes) this.#traffic?.addLoads();
  }

  /** Adds tokens [tokens x layers x topK]. */
  addRoutes(ids: Uint16Array, numTokens: number, topK: number): void {
    this.#traffic?.addRoutes(ids, numTokens, topK);
  }

  /** @param times how many times the tokens of routes a step has that was resized */
  inspection(cost: CostModel | undefined, times = 1): PlacementInspection {
    const { numRanks, numNodes } = this.#topology;
    const perStep = (this.#hasRoutes ? times : 1) / Math.max(1, this.#balance.numSteps);
    const { dispatchBytesPerToken = 0, combineBytesPerToken = 0 } = cost?.toJSON() ?? {};
    const traffic = this.#traffic?.traffic(dispatchBytesPerToken + combineBytesPerToken);
    return {
      ...{ numRanks, numNodes, dispatch: this.#dispatch },
      balance: this.#balance.figures(),
      countedFrom: this.#hasRoutes ? 'routes' : 'loads',
      sources: this.#sources === undefined ? 'uniform' : 'given',
      traffic: traffic === undefined ? null : scaledTraffic(traffic, perStep, cost !== undefined),
    };
  }
}

function readPlacement(
  given: InspectedPlacement,
  sizes: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
): { readonly topology: Topology; readonly slots: Int32Array } {
  const { mapping, numRanks, numNodes = 1 } = given;
  if (mapping !== undefined) {
    checkMapping('placement.mapping', mapping);
    slotsPerRankOf(mapping.numPhysicalExperts, numRanks);
  }
  const numPhysicalExperts =
    given.numPhysicalExperts ?? mapping?.numPhysicalExperts ?? sizes.numLogicalExperts;
  const topology = checkTopology({
    ...{ ...sizes, numPhysicalExperts, numRanks, numNodes, numGroups: 1 },
    ...rankOptionsOf(given),
  });
  if (mapping === undefined) return { topology, slots: initialSlots(topology) };
  const fits = (['numLayers', 'numLogicalExperts', 'numPhysicalExperts'] as const).find(
    (name) => mapping[name] !== topology[name],
  );
  if (fits !== undefined) {
    const what = `${fits} is ${mapping[fits]}, not ${topology[fits]}`;
    throw new EplbRangeError('EPLB_SHAPE', `placement.mapping: its ${what}`);
  }
  return { topology, slots: mapping.phyToLog };
}

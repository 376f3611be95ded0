import { checkTopology } from '../../core/check-topology.ts';
import { checkWhole, slotsPerRankOf } from '../../core/checks.ts';
import { EplbRangeError } from '../../core/errors.ts';
import { domainsOfRanks } from '../../core/failure-domains.ts';
import { checkOptions } from '../../core/known-keys.ts';
import { MAX_SIZE, type Topology } from '../../core/topology.ts';
import { type LoadsInput, toCheckedLoads } from '../../loads/load-matrix.ts';
import { checkShape } from '../../mapping/check-shape.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../../mapping/expert-mapping.ts';
import { reachedSlots } from '../../mapping/reached-slots.ts';
import { checkClosedSlots } from '../closed-slots.ts';
import { heaviestExperts, mostSurvivors } from './bound.ts';
import { ruledSurvivors } from './ruled-survivors.ts';

/** What {@link survival} looks at. */
export interface SurvivalOptions {
  /** What fails together: 'rank', 'node', or a name of `topology.failureDomains`. */
  readonly level: string;
  /** Ranks of the mapping: its slots are a multiple. Left out where `topology` is given. */
  readonly numRanks?: number;
  /** Nodes of equally many ranks. Default 1. Left out where `topology` is given. */
  readonly numNodes?: number;
  /**
   * All that is known of the ranks, in place of their numbers. Without one, as many slots of each rank are
   * open as reach to its last expert in any layer.
   */
  readonly topology?: Topology;
  /** `[layers x logical]`: what experts get, or are expected to. Not kept. */
  readonly loads?: LoadsInput;
}

/** What the failure of one domain loses in one layer. */
export interface DomainLoss {
  readonly domain: number;
  /** Experts that have no copy elsewhere, rising. */
  readonly experts: readonly number[];
  /** Their share of the layer's load, from 0 to 1; null where no loads are given. */
  readonly share: number | null;
}

/** What survives any single failure in one layer. */
export interface LayerSurvival {
  readonly layer: number;
  /** Experts with copies in two domains or more, and how many could have them in these slots. */
  readonly surviving: number;
  readonly mostSurviving: number;
  /** The same as shares of the layer's load, from 0 to 1; null where no loads are given. */
  readonly share: number | null;
  readonly mostShare: number | null;
  /**
   * The domain that loses the most load, or where no loads are given the most experts; of equal ones that
   * with the most experts, then the lowest.
   */
  readonly worst: DomainLoss;
}

/** What survives in all layers together: a failure hits all of them. */
export interface SurvivalSummary {
  /** Experts of all layers, and how many of them survive and could survive any single failure. */
  readonly experts: number;
  readonly surviving: number;
  readonly mostSurviving: number;
  /** Shares of the load of all layers; null where no loads are given. */
  readonly share: number | null;
  readonly mostShare: number | null;
  /** The domain that loses most in all layers together: how many experts, and what share of all load. */
  readonly worst: { readonly domain: number; readonly experts: number; readonly share: number | null };
}

/** What {@link survival} gives. */
export interface Survival {
  readonly level: string;
  /** Domains that have open slots. */
  readonly numDomains: number;
  readonly layers: readonly LayerSurvival[];
  readonly overall: SurvivalSummary;
}

const OPTIONS = ['level', 'numRanks', 'numNodes', 'topology', 'loads'];

/**
 * Computes what a single failure loses: for each layer, which experts have all their copies in one failure
 * domain, and the failure of which domain loses most. It also gives the most that could survive in these
 * slots. A second copy takes a redundant slot, so at most as many experts survive as there are redundant
 * slots: the heaviest ones.
 *
 * @throws EplbTypeError, EplbRangeError for wrong arguments; EplbRangeError `EPLB_MAPPING` for an expert in a
 *   slot that the topology closes
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 0, 3, 0]]);
 * const { layers } = survival(mapping, { level: 'rank', numRanks: 3, loads: [[6, 1, 1, 2]] });
 * layers[0].worst; // { domain: 2, experts: [3], share: 0.2 }
 * layers[0].share; // 0.6: of expert 0
 * layers[0].mostShare; // 0.8: experts 0 and 3 could have copies on two ranks each
 * ```
 */
export function survival(mapping: ExpertMapping, options: SurvivalOptions): Survival {
  checkMapping('mapping', mapping);
  const given = checkOptions('options', options, OPTIONS);
  const { level, loads } = given;
  const topology = topologyOf(mapping, given);
  const domains = domainsOfRanks(topology, level);
  const { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog } = tablesOf(mapping);
  const matrix =
    loads === undefined ? undefined : toCheckedLoads('loads', loads, numLayers, numLogicalExperts);
  const most = mostSurvivors(topology, domains);
  const ruled = topology.rules && ruledSurvivors(topology, domains);
  const counter = new LossCounter(topology, domains);
  const layers = Array.from({ length: numLayers }, (_, layer) => {
    const slots = phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
    const row = matrix?.data.subarray(layer * numLogicalExperts, (layer + 1) * numLogicalExperts);
    const chosen = ruled?.choose(layer, row ?? new Float32Array(numLogicalExperts)) ?? heaviest(row, most);
    return counter.layer(layer, slots, row, chosen);
  });
  return { level, numDomains: counter.numDomains, layers, overall: counter.overall() };
}

/** Any so many where there are no loads. */
function heaviest(loads: Float32Array | undefined, count: number): number[] {
  if (loads === undefined) return Array.from({ length: count }, (_, expert) => expert);
  return heaviestExperts(loads, count);
}

function topologyOf(mapping: ExpertMapping, given: SurvivalOptions): Topology {
  const { numLayers, numLogicalExperts, numPhysicalExperts, phyToLog } = tablesOf(mapping);
  if (given.topology !== undefined) {
    if (given.numRanks !== undefined || given.numNodes !== undefined) {
      const message = 'topology: it tells the ranks and nodes; leave numRanks and numNodes out';
      throw new EplbRangeError('EPLB_OPTION', message);
    }
    const topology = checkTopology(given.topology);
    checkShape('mapping', mapping, topology);
    checkClosedSlots('mapping', phyToLog, topology);
    return topology;
  }
  const numRanks = checkWhole('numRanks', given.numRanks, 1, MAX_SIZE);
  const stride = slotsPerRankOf(numPhysicalExperts, numRanks);
  const numNodes = checkWhole('numNodes', given.numNodes ?? 1, 1, MAX_SIZE);
  const sizes = { numLayers, numLogicalExperts, numPhysicalExperts, numRanks, numNodes, numGroups: 1 };
  return checkTopology({ ...sizes, slotsPerRank: reachedSlots(phyToLog, stride, numRanks) });
}

/** Adds up what domains lose, layer by layer. */
class LossCounter {
  readonly numDomains: number;
  readonly #topology: Topology;
  readonly #domains: Int32Array;
  /** The lowest domain that has open slots: it is named where nothing is lost. */
  readonly #firstDomain: number;
  readonly #all: Losses;

  constructor(topology: Topology, domains: Int32Array) {
    this.#topology = topology;
    this.#domains = domains;
    const open = [...new Set(domains.filter((_, rank) => topology.slotsPerRank?.[rank] !== 0))];
    this.numDomains = open.length;
    this.#firstDomain = open.reduce((least, domain) => Math.min(least, domain));
    this.#all = noLosses(1 + open.reduce((most, domain) => Math.max(most, domain)));
  }

  /** @param loads [logical] @param chosen experts that could survive together, the heaviest ones */
  layer(
    layer: number,
    slots: Int32Array,
    loads: Float32Array | undefined,
    chosen: readonly number[],
  ): LayerSurvival {
    const only = this.#onlyDomains(slots);
    const own = noLosses(this.#all.experts.length);
    only.forEach((domain, expert) => {
      const load = loads?.[expert] ?? 0;
      own.load += load;
      if (domain === SEVERAL) {
        own.surviving++;
        own.survivingLoad += load;
      } else {
        own.experts[domain]!++;
        own.loads[domain]! += load;
      }
    });
    own.mostSurviving = chosen.length;
    if (loads !== undefined) {
      own.hasLoads = true;
      for (const expert of chosen) own.mostLoad += loads[expert]!;
    }
    add(this.#all, own);
    const { worst, ...survivors } = described(own, this.#firstDomain);
    const experts = Array.from(only.keys()).filter((expert) => only[expert] === worst.domain);
    return { layer, ...survivors, worst: { ...worst, experts } };
  }

  overall(): SurvivalSummary {
    const { numLayers, numLogicalExperts } = this.#topology;
    return { experts: numLayers * numLogicalExperts, ...described(this.#all, this.#firstDomain) };
  }

  /** [logical]: the one domain that has the expert, or SEVERAL. */
  #onlyDomains(slots: Int32Array): Int32Array {
    const only = new Int32Array(this.#topology.numLogicalExperts).fill(NONE);
    const stride = slots.length / this.#topology.numRanks;
    slots.forEach((expert, slot) => {
      if (expert < 0) return;
      const domain = this.#domains[Math.floor(slot / stride)]!;
      if (only[expert] === NONE) only[expert] = domain;
      else if (only[expert] !== domain) only[expert] = SEVERAL;
    });
    return only;
  }
}

/** Of an expert: no domain has it yet; several have it. */
const NONE = -1;
const SEVERAL = -2;

/** What survives, and what each domain's failure loses. */
interface Losses {
  hasLoads: boolean;
  load: number;
  surviving: number;
  survivingLoad: number;
  mostSurviving: number;
  mostLoad: number;
  /** [domains], each. */
  readonly experts: Float64Array;
  readonly loads: Float64Array;
}

function noLosses(numDomains: number): Losses {
  return {
    hasLoads: false,
    load: 0,
    surviving: 0,
    survivingLoad: 0,
    mostSurviving: 0,
    mostLoad: 0,
    experts: new Float64Array(numDomains),
    loads: new Float64Array(numDomains),
  };
}

function add(all: Losses, own: Losses): void {
  all.hasLoads ||= own.hasLoads;
  all.load += own.load;
  all.surviving += own.surviving;
  all.survivingLoad += own.survivingLoad;
  all.mostSurviving += own.mostSurviving;
  all.mostLoad += own.mostLoad;
  for (let domain = 0; domain < own.experts.length; domain++) {
    all.experts[domain]! += own.experts[domain]!;
    all.loads[domain]! += own.loads[domain]!;
  }
}

/** Losses in shares of the load: of no load, all survives and nothing is lost. */
function described(losses: Losses, firstDomain: number): Omit<SurvivalSummary, 'experts'> {
  const { hasLoads, load, surviving, survivingLoad, mostSurviving, mostLoad, experts, loads } = losses;
  const share = (part: number, ofNothing: number) =>
    hasLoads ? (load === 0 ? ofNothing : part / load) : null;
  let domain = firstDomain;
  for (let other = domain + 1; other < experts.length; other++) {
    if ((loads[other]! - loads[domain]! || experts[other]! - experts[domain]!) > 0) domain = other;
  }
  return {
    surviving,
    mostSurviving,
    share: share(survivingLoad, 1),
    mostShare: share(mostLoad, 1),
    worst: { domain, experts: experts[domain]!, share: share(loads[domain]!, 0) },
  };
}

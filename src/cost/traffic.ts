import { checkAtLeast, checkWhole, loadError, show, slotsPerRankOf } from '../core/checks.ts';
import { checkDispatch, type Dispatch } from '../core/dispatch.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { nodesOfRanks } from '../core/nodes.ts';
import { checkLinkClasses } from '../core/rank-options.ts';
import type { Topology } from '../core/topology.ts';
import { typedArrayKind, typedArrayLength } from '../core/typed-arrays.ts';
import type { Routes } from '../loads/coactivation.ts';
import { type LoadsInput, toLoadMatrix } from '../loads/load-matrix.ts';
import { readNodes } from '../loads/slot-loads.ts';
import { checkSourceLoads, isBySource, type SourceLoads } from '../loads/source-loads.ts';
import { CopyShares } from '../mapping/copy-shares.ts';
import { checkMapping, type ExpertMapping, tablesOf } from '../mapping/expert-mapping.ts';
import { zeros } from '../memory/allocate.ts';

/** What traffic depends on beside loads and mapping. */
export interface TrafficOptions {
  readonly numRanks: number;
  /** Default 1. */
  readonly numNodes?: number;
  /** `[ranks]`: the node of each. Default: nodes of equally many ranks. */
  readonly nodeOfRank?: readonly number[];
  /** Ranks that no token is on, where nothing says where tokens are. */
  readonly deadRanks?: readonly number[];
  /** `[ranks][ranks]`: see `Topology.linkClasses`. Default: 'intraNode' and 'interNode'. */
  readonly linkClasses?: readonly (readonly string[])[];
  /** Which copy of an expert a token takes. Default 'even'. */
  readonly dispatch?: Dispatch;
  /** Bytes of a token on its way to a rank and back, as of a cost model. Default 1. */
  readonly bytesPerToken?: number;
}

/** The same of routes. */
export interface RouteTrafficOptions extends TrafficOptions {
  readonly numTokens: number;
  readonly topK: number;
  /** `[tokens]`: the rank that each token is on. Default: tokens are on all ranks alike. */
  readonly sourceRanks?: ArrayLike<number>;
}

/** What goes over the links of one class. */
export interface LinkTraffic {
  readonly linkClass: string;
  readonly tokens: number;
  readonly bytes: number;
  /** Pairs of a rank and another that such a link joins, each way counted; without those of dead ranks. */
  readonly numPairs: number;
  /** Tokens of the pair that has most. */
  readonly busiestTokens: number;
  /** That pair: the rank that sends, and the one that receives. */
  readonly busiestPair: readonly [from: number, to: number];
  /** Tokens of that pair / the mean of the pairs: how evenly links are used. 1 without any tokens. */
  readonly peakToAverage: number;
}

/** Which ranks send each other tokens, over all layers. */
export interface Traffic {
  readonly numRanks: number;
  /** `Float64Array[ranks x ranks]`: tokens that a rank sends to another; to itself: what stays. */
  readonly tokens: Float64Array;
  /** The same in bytes; of what stays 0. */
  readonly bytes: Float64Array;
  /** Tokens whose expert is on the rank that they are on. */
  readonly localTokens: number;
  /** By class of link, in the order in which classes come row by row. */
  readonly links: readonly LinkTraffic[];
  /**
   * 'given', or 'uniform': nothing says where tokens are, and they are taken to be on all ranks that live
   * alike.
   */
  readonly sources: 'given' | 'uniform';
}

const OPTIONS = [
  ...['numRanks', 'numNodes', 'nodeOfRank', 'deadRanks', 'linkClasses', 'dispatch', 'bytesPerToken'],
];
const ROUTE_OPTIONS = [...OPTIONS, 'numTokens', 'topK', 'sourceRanks'];

/**
 * The traffic of loads under a mapping. Each token of an expert is a transfer of its own, because loads do
 * not say which experts a token has together. A rank that has two experts of a token counts two transfers,
 * where an engine may send one; {@link routeTraffic} counts one.
 *
 * @param loads [layers x logical], with tokens assumed to be spread evenly over all ranks; or by the rank
 *   that tokens are on
 * @throws EplbTypeError, EplbRangeError for loads or sizes that do not fit the mapping, naming the option
 * @example
 * ```ts
 * const mapping = ExpertMapping.fromPhysicalToLogical([[0, 1, 2, 3]]);
 * loadTraffic([[4, 4, 4, 4]], mapping, { numRanks: 4, numNodes: 2 }).links;
 * // 'intraNode': 4 tokens over 4 pairs, 'interNode': 8 over 8; 4 more stay where they are
 * ```
 */
export function loadTraffic(
  loads: LoadsInput | SourceLoads,
  mapping: ExpertMapping,
  options: TrafficOptions,
): Traffic {
  const { dispatch, bytesPerToken, topology } = readOptions(options, mapping, OPTIONS);
  const { numLayers, numRanks, numLogicalExperts } = topology;
  const isGiven = isBySource(loads);
  const data = isGiven
    ? checkSourceLoads('loads', loads, topology)
    : toLoadMatrix('loads', loads, numLayers, numLogicalExperts).data;
  const live = liveRanksOf(topology);
  const tokens = pairsOf(numRanks);
  for (let layer = 0; layer < numLayers; layer++) {
    const copies = new CopyShares(slotsOf(mapping, layer), topology, dispatch);
    for (const source of isGiven ? Array(numRanks).keys() : live) {
      for (let expert = 0; expert < numLogicalExperts; expert++) {
        const row = isGiven ? layer * numRanks + source : layer;
        const load = data[row * numLogicalExperts + expert]!;
        if (!(load >= 0 && load < Number.POSITIVE_INFINITY)) throw loadError('loads', layer, expert, load);
        const sent = isGiven ? load : load / live.length;
        if (sent === 0) continue;
        const numTargets = copies.find(expert, source);
        for (let i = 0; i < numTargets; i++)
          tokens[source * numRanks + copies.ranks[i]!]! += sent * copies.shares[i]!;
      }
    }
  }
  return trafficOf(tokens, topology, bytesPerToken, isGiven ? 'given' : 'uniform');
}

/**
 * The traffic of routes under a mapping. A rank receives a token once, however many of the token's experts it
 * has. If an expert has several copies, a token takes each with its share, independently of its other
 * experts. So tokens are expected values, not whole numbers.
 *
 * @param routes expert ids [numTokens x layers x topK], row-major
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE`, `EPLB_SHAPE`, naming token and layer
 */
export function routeTraffic(routes: Routes, mapping: ExpertMapping, options: RouteTrafficOptions): Traffic {
  const { dispatch, bytesPerToken, topology } = readOptions(options, mapping, ROUTE_OPTIONS);
  const { numLayers, numRanks } = topology;
  const numTokens = checkWhole('numTokens', options.numTokens, 0);
  const topK = checkWhole('topK', options.topK, 1);
  const length = numTokens * numLayers * topK;
  if (typedArrayKind(routes) === undefined) {
    throw new EplbTypeError('EPLB_KIND', `routes: ${show(routes)} is not a typed array of expert ids`);
  }
  if (typedArrayLength(routes) !== length) {
    const shape = `${numTokens} tokens x ${numLayers} layers x ${topK}`;
    throw new EplbRangeError('EPLB_SHAPE', `routes: ${show(routes)} is not ${length} ids: ${shape}`);
  }
  const sources = checkSources(options.sourceRanks, numTokens, numRanks);
  const tokens = pairsOf(numRanks);
  const missed = new Float64Array(numRanks);
  const live = liveRanksOf(topology);
  const isSourceIdle = sources === undefined && dispatch === 'even';
  for (let layer = 0; layer < numLayers; layer++) {
    const copies = new CopyShares(slotsOf(mapping, layer), topology, dispatch);
    for (let token = 0; token < numTokens; token++) {
      const first = (token * numLayers + layer) * topK;
      const send = (source: number, share: number) => {
        missed.fill(1);
        for (let k = first; k < first + topK; k++) {
          const expert = expertAt(routes, k, token, layer, topology);
          const numTargets = copies.find(expert, source);
          for (let i = 0; i < numTargets; i++) missed[copies.ranks[i]!]! *= 1 - copies.shares[i]!;
        }
        for (let rank = 0; rank < numRanks; rank++)
          tokens[source * numRanks + rank]! += share * (1 - missed[rank]!);
      };
      if (sources !== undefined) send(sources[token]!, 1);
      else if (isSourceIdle) send(0, 1);
      else for (const source of live) send(source, 1 / live.length);
    }
  }
  if (isSourceIdle) spreadOverSources(tokens, numRanks, live);
  return trafficOf(tokens, topology, bytesPerToken, sources === undefined ? 'uniform' : 'given');
}

/** What all tokens send was counted as rank 0's: all ranks that live have as much of it. */
function spreadOverSources(tokens: Float64Array, numRanks: number, live: readonly number[]): void {
  for (let target = 0; target < numRanks; target++) {
    const each = tokens[target]! / live.length;
    tokens[target] = 0;
    for (const source of live) tokens[source * numRanks + target] = each;
  }
}

function liveRanksOf({ numRanks, deadRanks = [] }: Topology): number[] {
  const ranks = Array.from({ length: numRanks }, (_, rank) => rank);
  return ranks.filter((rank) => !deadRanks.includes(rank));
}

function expertAt(routes: Routes, at: number, token: number, layer: number, topology: Topology): number {
  const expert = routes[at]!;
  if (Number.isInteger(expert) && expert >= 0 && expert < topology.numLogicalExperts) return expert;
  const where = `routes: token ${token}, layer ${layer}`;
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${where}: ${expert} is not an expert from 0 to ${topology.numLogicalExperts - 1}`,
  );
}

function readOptions<Options extends TrafficOptions>(
  options: Options,
  mapping: ExpertMapping,
  names: readonly string[],
): { dispatch: Dispatch; bytesPerToken: number; topology: Topology } {
  checkMapping('mapping', mapping);
  checkOptions('options', options, names);
  const { numRanks, linkClasses: classes, bytesPerToken = 1 } = options;
  const dispatch = checkDispatch(options.dispatch);
  const { numLayers, numLogicalExperts, numPhysicalExperts } = tablesOf(mapping);
  slotsPerRankOf(numPhysicalExperts, numRanks);
  const linkClasses = checkLinkClasses(classes, { numRanks });
  const topology = {
    ...{ numLayers, numLogicalExperts, numPhysicalExperts, numGroups: 1 },
    ...readNodes(options, numRanks),
    ...(linkClasses && { linkClasses }),
  };
  return { dispatch, bytesPerToken: checkAtLeast('bytesPerToken', bytesPerToken, 0), topology };
}

function checkSources(given: unknown, numTokens: number, numRanks: number): Int32Array | undefined {
  if (given === undefined) return undefined;
  const ranks =
    Array.isArray(given) || ArrayBuffer.isView(given) ? Array.from<unknown>(given as []) : undefined;
  if (ranks === undefined)
    throw new EplbTypeError('EPLB_KIND', `sourceRanks: ${show(given)} is not a list of ranks`);
  if (ranks.length !== numTokens)
    throw new EplbRangeError('EPLB_SHAPE', `sourceRanks: has ${ranks.length} ranks for ${numTokens} tokens`);
  return Int32Array.from(ranks, (rank, token) => checkWhole(`sourceRanks[${token}]`, rank, 0, numRanks - 1));
}

function slotsOf(mapping: ExpertMapping, layer: number): Int32Array {
  const { phyToLog, numPhysicalExperts } = tablesOf(mapping);
  return phyToLog.subarray(layer * numPhysicalExperts, (layer + 1) * numPhysicalExperts);
}

function pairsOf(numRanks: number): Float64Array {
  return zeros(`tokens between ${numRanks} ranks`, Float64Array, numRanks * numRanks);
}

/** What is added up of a class of links. */
interface LinkSums {
  tokens: number;
  numPairs: number;
  busiestTokens: number;
  busiestPair: readonly [number, number];
}

/**
 * What tokens between ranks come to.
 * @param tokens `[ranks x ranks]`, kept
 */
export function trafficOf(
  tokens: Float64Array,
  topology: Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank' | 'deadRanks' | 'linkClasses'>,
  bytesPerToken: number,
  sources: Traffic['sources'],
): Traffic {
  const { numRanks } = topology;
  const nodeOf = nodesOfRanks(topology);
  const links = new Map<string, LinkSums>();
  const isDead = new Set(topology.deadRanks);
  let localTokens = 0;
  for (let source = 0; source < numRanks; source++) {
    for (let target = 0; target < numRanks; target++) {
      const sent = tokens[source * numRanks + target]!;
      if (source === target) {
        localTokens += sent;
        continue;
      }
      if (sent === 0 && (isDead.has(source) || isDead.has(target))) continue;
      const usual = nodeOf[source] === nodeOf[target] ? 'intraNode' : 'interNode';
      const name = topology.linkClasses?.[source]?.[target] ?? usual;
      let link = links.get(name);
      if (link === undefined) {
        link = { tokens: 0, numPairs: 0, busiestTokens: 0, busiestPair: [source, target] };
        links.set(name, link);
      }
      link.tokens += sent;
      link.numPairs++;
      if (sent <= link.busiestTokens) continue;
      link.busiestTokens = sent;
      link.busiestPair = [source, target];
    }
  }
  return {
    numRanks,
    tokens,
    bytes: tokens.map((sent, i) => (i % (numRanks + 1) === 0 ? 0 : sent * bytesPerToken)),
    localTokens,
    links: Array.from(links, ([linkClass, link]) => ({
      linkClass,
      ...link,
      bytes: link.tokens * bytesPerToken,
      peakToAverage: link.tokens === 0 ? 1 : (link.busiestTokens * link.numPairs) / link.tokens,
    })),
    sources,
  };
}

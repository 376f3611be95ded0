import {
  checkAtLeast,
  checkBoolean,
  checkNumbered,
  checkObject,
  checkText,
  checkWhole,
  show,
  slotsPerRankOf,
} from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import { checkNodes } from '../core/nodes.ts';
import { MAX_SIZE, type Topology } from '../core/topology.ts';
import type { CostModelInit, LinkClass } from '../cost/cost-json.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { costModel } from '../cost/make.ts';
import { LinkMap } from './link-map.ts';

/** One tensor of an expert: its weights, their scales, a bias. */
export interface ExpertTensor {
  readonly name: string;
  readonly bytes: number;
}

/** Where what a rank receives goes: to a buffer beside the slots, or into the slots themselves. */
export type TransferMode = 'buffered' | 'inPlace';

/** How an executor may issue a layer's rounds: one after the other, or together. */
export type TransferSchedule = 'rounds' | 'batch';

/** What {@link planTransfer} is told beside the two mappings. */
export interface TransferOptions {
  /** Devices. Needed, unless `topology` says it. */
  readonly numRanks?: number;
  /** Sets of ranks that a fast network joins. Default 1. */
  readonly numNodes?: number;
  /** In place of the two numbers; of its other sizes only those of the mappings are looked at. */
  readonly topology?: Topology;
  /**
   * 'buffered': what a rank receives goes to buffer slots, and is copied into its slots at the end.
   * 'inPlace': it goes into slots, as soon as all that is read from them has left. Default: 'inPlace' where
   * `staging` is given, else 'buffered'.
   */
  readonly mode?: TransferMode;
  /** In place: spare slots of each rank, which the transfer may use on the way. Default 1. */
  readonly staging?: 0 | 1 | 2;
  /** Whether a rank can send and receive at once. Default 'full'. */
  readonly duplex?: 'full' | 'half';
  /** Whether ranks may pass on what they have received. Default false. */
  readonly relay?: boolean;
  /** Ranks that are lost: nothing is read from them, nor sent to them. Default: none. */
  readonly deadRanks?: readonly number[];
  /** The most bytes that a rank sends and receives at one time, together. Default: any number. */
  readonly maxBytesInFlight?: number;
  /** Default 'auto': what takes fewer seconds by `cost`; 'rounds' without a cost, and in place. */
  readonly schedule?: 'auto' | TransferSchedule;
  /** Bytes of an expert. Default: those of `bundle`, else those of `cost`, else 0. */
  readonly bytesPerExpert?: number;
  /** The tensors of an expert, all of which move. */
  readonly bundle?: readonly ExpertTensor[];
  /** The link model, for seconds: a cost model, or what {@link costModel} makes one of. */
  readonly cost?: string | CostModelInit | CostModel;
  /**
   * `[ranks][ranks]`: the class of the link from one rank (the row) to another. Default: 'intraNode' within a
   * node, else 'interNode'.
   */
  readonly linkClasses?: readonly (readonly LinkClass[])[];
  /**
   * `[ranks][ranks]`: what a transfer from one rank to another costs, in any unit: sources with cheaper links
   * come first. Default: by class. 'intraNode' is the cheapest and 'interNode' the dearest; others are
   * between them, in the order of their bandwidth by `cost`, else in that of `linkClasses`.
   */
  readonly linkCosts?: readonly (readonly number[])[];
  /** `[layers]`: what each layer is predicted to gain. Default: all the same. */
  readonly gains?: ArrayLike<number>;
}

const TRANSFER_OPTIONS = [
  'numRanks',
  'numNodes',
  'topology',
  'mode',
  'staging',
  'duplex',
  'relay',
  'deadRanks',
  'maxBytesInFlight',
  'schedule',
  'bytesPerExpert',
  'bundle',
  'cost',
  'linkClasses',
  'linkCosts',
  'gains',
];
/** The names of {@link TransferOptions}. */
export const transferOptionNames = (): readonly string[] => TRANSFER_OPTIONS;

const MOST_BYTES = 1e15;
const MOST_STAGING = 2;

/** The options, checked, and everything that was left out filled in. */
export interface TransferSetting {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly nodeOfRank: readonly number[] | undefined;
  readonly slotsPerRank: number;
  readonly mode: TransferMode;
  /** 0 when buffered. */
  readonly staging: number;
  readonly duplex: 'full' | 'half';
  /**
   * Whether a rank sends or receives one expert at a time: at half duplex, or as no more may be in flight.
   */
  readonly oneAtATime: boolean;
  readonly relay: boolean;
  /** [ranks]: 1 for a dead one. */
  readonly isDead: Uint8Array;
  readonly deadRanks: readonly number[];
  readonly maxBytesInFlight: number;
  readonly schedule: 'auto' | TransferSchedule;
  readonly bytesPerExpert: number;
  readonly bundle: readonly ExpertTensor[] | undefined;
  readonly cost: CostModel | undefined;
  readonly links: LinkMap;
  readonly gains: Float64Array | undefined;
}

/** The sizes of the mappings that options belong to. */
export interface TransferSizes {
  readonly numLayers: number;
  readonly numPhysicalExperts: number;
}

/**
 * Checks options, each read once.
 * @throws EplbTypeError `EPLB_KIND`, `EPLB_OPTION`; EplbRangeError `EPLB_RANGE`, `EPLB_NOT_WHOLE`,
 * `EPLB_SHAPE`, `EPLB_TOPOLOGY`, naming the option
 */
export function readTransferOptions(given: TransferOptions, sizes: TransferSizes): TransferSetting {
  const options = checkOptions('options', given, TRANSFER_OPTIONS);
  const { numRanks, numNodes, nodeOfRank } = readRanks(options, sizes);
  const slotsPerRank = slotsPerRankOf(sizes.numPhysicalExperts, numRanks);
  const { mode: askedMode, staging: askedStaging, duplex = 'full', relay = false } = options;
  const mode = oneOf('mode', askedMode ?? (askedStaging === undefined ? 'buffered' : 'inPlace'), MODES);
  const staging = checkWhole('staging', askedStaging ?? 1, 0, MOST_STAGING);
  oneOf('duplex', duplex, DUPLEXES);
  checkBoolean('relay', relay);
  const schedule = oneOf('schedule', options.schedule ?? 'auto', SCHEDULES);
  if (schedule === 'batch' && (mode === 'inPlace' || relay)) {
    const why = relay ? 'relays wait for what they pass on' : 'in place a round waits for the one before';
    throw new EplbRangeError('EPLB_OPTION', `schedule: 'batch' cannot be, as ${why}`);
  }
  const cost = options.cost === undefined ? undefined : costModel(options.cost);
  const bundle = readBundle(options.bundle);
  const bytesPerExpert = readBytes(options.bytesPerExpert, bundle, cost);
  const deadRanks = checkNumbered(
    'deadRanks',
    options.deadRanks ?? options.topology?.deadRanks ?? [],
    'ranks',
    numRanks,
  );
  const isDead = new Uint8Array(numRanks);
  for (const rank of deadRanks) isDead[rank] = 1;
  const linkClasses = options.linkClasses ?? options.topology?.linkClasses;
  const maxBytesInFlight = readMost(options.maxBytesInFlight, bytesPerExpert);
  return {
    numRanks,
    numNodes,
    nodeOfRank,
    slotsPerRank,
    mode,
    staging: mode === 'buffered' ? 0 : staging,
    duplex,
    oneAtATime: duplex === 'half' || maxBytesInFlight < 2 * bytesPerExpert,
    relay,
    isDead,
    deadRanks,
    maxBytesInFlight,
    schedule,
    bytesPerExpert,
    bundle,
    cost,
    links: new LinkMap(
      { numRanks, numNodes, ...(nodeOfRank && { nodeOfRank }) },
      cost,
      linkClasses,
      options.linkCosts,
    ),
    gains: readGains(options.gains, sizes.numLayers),
  };
}

const MODES = ['buffered', 'inPlace'] as const;
const DUPLEXES = ['full', 'half'] as const;
const SCHEDULES = ['auto', 'rounds', 'batch'] as const;

function oneOf<T extends string>(title: string, value: T, known: readonly T[]): T {
  if (known.includes(value)) return value;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(value)} is none of ${known.join(', ')}`);
}

type Nodes = Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank'>;

function readRanks(options: TransferOptions, sizes: TransferSizes): Nodes {
  const { topology } = options;
  if (topology !== undefined) {
    const { numLayers, numPhysicalExperts } = checkObject('topology', topology);
    if (numLayers !== sizes.numLayers || numPhysicalExperts !== sizes.numPhysicalExperts) {
      const found = `${show(numLayers)} x ${show(numPhysicalExperts)}`;
      const wanted = `${sizes.numLayers} x ${sizes.numPhysicalExperts}`;
      throw new EplbRangeError('EPLB_SHAPE', `topology: is of ${found} (layers x slots), not ${wanted}`);
    }
    for (const name of ['numRanks', 'numNodes'] as const) {
      if (options[name] === undefined || options[name] === topology[name]) continue;
      const both = `${show(options[name])}, but topology has ${show(topology[name])}`;
      throw new EplbRangeError('EPLB_OPTION', `${name}: is ${both}; give one of them`);
    }
  }
  const numRanks = checkWhole('numRanks', topology?.numRanks ?? options.numRanks, 1, MAX_SIZE);
  const numNodes = checkWhole('numNodes', topology?.numNodes ?? options.numNodes ?? 1, 1, MAX_SIZE);
  const given = topology?.nodeOfRank;
  const nodeOfRank = checkNodes(given, { numRanks, numNodes });
  return { numRanks, numNodes, ...(nodeOfRank && { nodeOfRank }) };
}

function readBundle(given: readonly ExpertTensor[] | undefined): readonly ExpertTensor[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `bundle: ${show(given)} is not a list of tensors`);
  }
  const names = new Set<string>();
  return given.map((tensor: ExpertTensor, i) => {
    const { name, bytes } = checkObject(`bundle[${i}]`, tensor);
    checkText(`bundle[${i}].name`, name);
    if (names.has(name)) {
      throw new EplbRangeError('EPLB_RANGE', `bundle[${i}].name: ${show(name)} is there twice`);
    }
    names.add(name);
    return { name, bytes: checkWhole(`bundle[${i}].bytes`, bytes, 0, MOST_BYTES) };
  });
}

function readBytes(
  given: number | undefined,
  bundle: readonly ExpertTensor[] | undefined,
  cost: CostModel | undefined,
): number {
  const ofBundle = bundle?.reduce((sum, { bytes }) => sum + bytes, 0);
  if (given === undefined) return ofBundle ?? cost?.bytesPerExpert ?? 0;
  checkWhole('bytesPerExpert', given, 0, MOST_BYTES);
  if (ofBundle === undefined || ofBundle === given) return given;
  const message = `bytesPerExpert: is ${given}, but the tensors of bundle have ${ofBundle}; give one of them`;
  throw new EplbRangeError('EPLB_OPTION', message);
}

function readMost(given: number | undefined, bytesPerExpert: number): number {
  if (given === undefined || given === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  checkAtLeast('maxBytesInFlight', given, 0);
  if (given >= bytesPerExpert) return given;
  const message = `maxBytesInFlight: ${given} is less than the ${bytesPerExpert} bytes of one expert`;
  throw new EplbRangeError('EPLB_RANGE', message);
}

function readGains(given: ArrayLike<number> | undefined, numLayers: number): Float64Array | undefined {
  if (given === undefined) return undefined;
  const { length } = checkObject('gains', given);
  if (length !== numLayers) {
    throw new EplbRangeError('EPLB_SHAPE', `gains: has ${show(length)} numbers for ${numLayers} layers`);
  }
  return Float64Array.from({ length: numLayers }, (_, layer) => {
    const gain = given[layer];
    if (typeof gain === 'number' && Number.isFinite(gain)) return gain;
    if (typeof gain !== 'number') {
      throw new EplbTypeError('EPLB_KIND', `gains[${layer}]: ${show(gain)} is not a number`);
    }
    throw new EplbRangeError('EPLB_RANGE', `gains[${layer}]: ${gain} is not finite`);
  });
}

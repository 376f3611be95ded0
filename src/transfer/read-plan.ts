import {
  checkAtLeast,
  checkBoolean,
  checkMultiple,
  checkObject,
  checkText,
  checkWhole,
  show,
} from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkNodes } from '../core/nodes.ts';
import { MAX_SIZE } from '../core/topology.ts';
import type {
  HostLoad,
  LayerBounds,
  RankSlot,
  Transfer,
  TransferCopy,
  TransferLayer,
  UndoneSlot,
} from './layer.ts';
import type { ExpertTensor } from './options.ts';
import type { TransferDigests, TransferFigures, TransferPlanHead } from './plan-json.ts';

/** A plan as it was read. */
export interface ReadPlan {
  readonly head: TransferPlanHead;
  readonly digests: TransferDigests;
  readonly layers: readonly TransferLayer[];
}

const MOST_BYTES = 1e15;
const MOST_STAGING = 2;

/** Checks and copies a plan from outside. What follows from its operations is counted anew. */
export function readPlan(given: unknown): ReadPlan {
  const json = fields('plan', given);
  if (json.kind !== 'transfer-plan' || json.formatVersion !== 1) {
    const found = `${show(json.kind)} of version ${show(json.formatVersion)}`;
    throw new EplbRangeError('EPLB_FORMAT', `plan: is ${found}, not "transfer-plan" of version 1`);
  }
  const sizes = readSizes(json);
  const schedule = oneOf('schedule', json.schedule, ['rounds', 'batch'] as const);
  const digests = fields('digests', json.digests);
  const layers = new LayersReader(sizes).read(json.layers);
  return {
    head: {
      ...sizes,
      duplex: oneOf('duplex', json.duplex, ['full', 'half'] as const),
      relay: checkBoolean('relay', json.relay),
      deadRanks: list('deadRanks', json.deadRanks, (title, rank) =>
        checkWhole(title, rank, 0, sizes.numRanks - 1),
      ),
      maxBytesInFlight: orNull('maxBytesInFlight', json.maxBytesInFlight, positive),
      bundle: json.bundle === null ? null : list('bundle', json.bundle, readTensor),
      cost: orNull('cost', json.cost, checkText),
      schedule,
      scheduleReason: checkText('scheduleReason', json.scheduleReason),
      roundsPerBatch: orNull('roundsPerBatch', json.roundsPerBatch, (title, value) =>
        checkWhole(title, value, 1, schedule === 'rounds' ? 1 : MAX_SIZE),
      ),
      seconds: orNull('seconds', json.seconds, positive),
      secondsIn: orNull('secondsIn', json.secondsIn, readSecondsIn),
      bounds: readBounds(json.bounds),
      stagingBytes: positive('stagingBytes', json.stagingBytes),
      ...figuresOf(layers, sizes.bytesPerExpert, linkNames(json.bytesByLink)),
    },
    digests: { from: checkText('digests.from', digests.from), to: checkText('digests.to', digests.to) },
    layers,
  };
}

type Sizes = ReturnType<typeof readSizes>;

function readSizes(json: Fields) {
  const size = (name: string) => checkWhole(name, json[name], 1, MAX_SIZE);
  const [numLayers, numPhysicalExperts, numLogicalExperts] = [
    size('numLayers'),
    size('numPhysicalExperts'),
    size('numLogicalExperts'),
  ];
  const [numRanks, numNodes] = [size('numRanks'), size('numNodes')];
  checkMultiple('numPhysicalExperts', numPhysicalExperts, 'numRanks', numRanks);
  checkWhole('numNodes', numNodes, 1, numRanks);
  const nodeOfRank = checkNodes(json.nodeOfRank, { numRanks, numNodes });
  const mode = oneOf('mode', json.mode, ['buffered', 'inPlace'] as const);
  return {
    numLayers,
    numPhysicalExperts,
    numLogicalExperts,
    numRanks,
    numNodes,
    ...(nodeOfRank && { nodeOfRank }),
    mode,
    staging: checkWhole('staging', json.staging, 0, mode === 'buffered' ? 0 : MOST_STAGING),
    bytesPerExpert: checkWhole('bytesPerExpert', json.bytesPerExpert, 0, MOST_BYTES),
  };
}

/** Reads layers, and their operations within the sizes of the plan. */
class LayersReader {
  readonly #sizes: Sizes;
  readonly #slotsPerRank: number;
  /** Slots, and those of buffer or staging. */
  readonly #allSlots: number;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#slotsPerRank = sizes.numPhysicalExperts / sizes.numRanks;
    this.#allSlots = this.#slotsPerRank + (sizes.mode === 'buffered' ? this.#slotsPerRank : sizes.staging);
  }

  read(given: unknown): TransferLayer[] {
    const { numLayers } = this.#sizes;
    const layers = list('layers', given, (title, layer) => this.#layer(title, layer));
    const numbers = new Set(layers.map(({ layer }) => layer));
    if (layers.length !== numLayers || numbers.size !== numLayers) {
      const found = `${layers.length} layers, ${numbers.size} of them different`;
      throw new EplbRangeError('EPLB_SHAPE', `layers: has ${found}, not each of ${numLayers} once`);
    }
    return layers;
  }

  #layer(title: string, given: unknown): TransferLayer {
    const json = fields(title, given);
    const { numPhysicalExperts } = this.#sizes;
    const rounds = list(`${title}.rounds`, json.rounds, (of, round) =>
      list(of, round, (at, transfer) => this.#transfer(at, transfer)),
    );
    return {
      layer: checkWhole(`${title}.layer`, json.layer, 0, this.#sizes.numLayers - 1),
      rounds,
      copies: list(`${title}.copies`, json.copies, (at, copy) => this.#copy(at, copy, rounds.length)),
      hostLoads: list(`${title}.hostLoads`, json.hostLoads, (at, load) =>
        this.#hostLoad(at, fields(at, load)),
      ),
      clears: list(`${title}.clears`, json.clears, (at, place) => this.#place(at, place)),
      undone: list(`${title}.undone`, json.undone, (at, slot) => this.#undone(at, slot)),
      bounds: readLayerBounds(`${title}.bounds`, json.bounds, numPhysicalExperts),
      extraSlots: checkWhole(`${title}.extraSlots`, json.extraSlots, 0, this.#allSlots - this.#slotsPerRank),
      stagingBytes: positive(`${title}.stagingBytes`, json.stagingBytes),
      seconds: orNull(`${title}.seconds`, json.seconds, positive),
    };
  }

  #transfer(title: string, given: unknown): Transfer {
    const json = fields(title, given);
    const { fallbacks } = json;
    return {
      ...this.#move(title, json),
      link: checkText(`${title}.link`, json.link),
      ...(fallbacks === undefined
        ? {}
        : { fallbacks: list(`${title}.fallbacks`, fallbacks, (at, place) => this.#place(at, place)) }),
    };
  }

  #copy(title: string, given: unknown, numRounds: number): TransferCopy {
    const json = fields(title, given);
    const move = this.#move(title, json);
    if (move.sourceRank !== move.targetRank) {
      const ranks = `${move.sourceRank} and ${move.targetRank}`;
      throw new EplbRangeError('EPLB_FORMAT', `${title}: leads from one rank to another: ${ranks}`);
    }
    return { ...move, step: checkWhole(`${title}.step`, json.step, 0, numRounds + 1) };
  }

  #move(title: string, json: Fields) {
    const { expert, targetRank, targetSlot, bytes } = this.#hostLoad(title, json);
    return {
      expert,
      sourceRank: this.#rank(`${title}.sourceRank`, json.sourceRank),
      sourceSlot: this.#slot(`${title}.sourceSlot`, json.sourceSlot),
      targetRank,
      targetSlot,
      bytes,
    };
  }

  #hostLoad(title: string, json: Fields): HostLoad {
    const { numLogicalExperts, bytesPerExpert } = this.#sizes;
    return {
      expert: checkWhole(`${title}.expert`, json.expert, 0, numLogicalExperts - 1),
      targetRank: this.#rank(`${title}.targetRank`, json.targetRank),
      targetSlot: this.#slot(`${title}.targetSlot`, json.targetSlot),
      bytes: checkWhole(`${title}.bytes`, json.bytes, bytesPerExpert, bytesPerExpert),
    };
  }

  #undone(title: string, given: unknown): UndoneSlot {
    const json = fields(title, given);
    return {
      ...this.#hostLoad(title, json),
      reason: oneOf(`${title}.reason`, json.reason, ['deadRank', 'staging'] as const),
    };
  }

  #place(title: string, given: unknown): RankSlot {
    const json = fields(title, given);
    return { rank: this.#rank(`${title}.rank`, json.rank), slot: this.#slot(`${title}.slot`, json.slot) };
  }

  #rank(title: string, value: unknown): number {
    return checkWhole(title, value, 0, this.#sizes.numRanks - 1);
  }

  #slot(title: string, value: unknown): number {
    return checkWhole(title, value, 0, this.#allSlots - 1);
  }
}

function figuresOf(
  layers: readonly TransferLayer[],
  bytesPerExpert: number,
  links: readonly string[],
): TransferFigures {
  const byLink = new Map(links.map((name) => [name, 0]));
  let [numRounds, numTransfers] = [0, 0];
  for (const { rounds } of layers) {
    numRounds += rounds.length;
    for (const { link, bytes } of rounds.flat()) {
      byLink.set(link, (byLink.get(link) ?? 0) + bytes);
      numTransfers++;
    }
  }
  return {
    numRounds,
    numTransfers,
    bytes: numTransfers * bytesPerExpert,
    bytesByLink: Object.fromEntries(byLink),
  };
}

function linkNames(given: unknown): string[] {
  return Object.keys(fields('bytesByLink', given));
}

function readTensor(title: string, given: unknown): ExpertTensor {
  const json = fields(title, given);
  return {
    name: checkText(`${title}.name`, json.name),
    bytes: checkWhole(`${title}.bytes`, json.bytes, 0, MOST_BYTES),
  };
}

function readSecondsIn(title: string, given: unknown): { rounds: number; batch: number | null } {
  const json = fields(title, given);
  return {
    rounds: positive(`${title}.rounds`, json.rounds),
    batch: orNull(`${title}.batch`, json.batch, positive),
  };
}

function readBounds(given: unknown): TransferPlanHead['bounds'] {
  const json = fields('bounds', given);
  return {
    rounds: checkWhole('bounds.rounds', json.rounds, 0),
    seconds: orNull('bounds.seconds', json.seconds, positive),
  };
}

function readLayerBounds(title: string, given: unknown, most: number): LayerBounds {
  const json = fields(title, given);
  const count = (name: string) => checkWhole(`${title}.${name}`, json[name], 0, most);
  return { mostSent: count('mostSent'), mostReceived: count('mostReceived'), rounds: count('rounds') };
}

type Fields = Readonly<Record<string, unknown>>;

function fields(title: string, given: unknown): Fields {
  return checkObject(title, given as object) as Fields;
}

function list<T>(title: string, given: unknown, read: (title: string, value: unknown) => T): T[] {
  if (!Array.isArray(given)) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list`);
  return Array.from(given, (value: unknown, i) => read(`${title}[${i}]`, value));
}

function orNull<T>(title: string, value: unknown, read: (title: string, value: unknown) => T): T | null {
  return value === null ? null : read(title, value);
}

function positive(title: string, value: unknown): number {
  return checkAtLeast(title, value, 0);
}

function oneOf<T extends string>(title: string, value: unknown, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  throw new EplbRangeError('EPLB_RANGE', `${title}: ${show(value)} is none of ${known.join(', ')}`);
}

import { checkAtLeast, checkObject, checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkOptions } from '../core/known-keys.ts';
import {
  type CostModelInit,
  type CostModelJson,
  type Link,
  type LinkClass,
  readCostFields,
} from './cost-json.ts';
import { checkWithin } from './fields.ts';
import { makeSlotCurve, type SlotCurve } from './slot-curve.ts';

const RANK_OPTIONS = ['tokensReceived', 'rankSpeed'];
const LAYER_OPTIONS = ['tokensReceived', 'rankSpeeds'];

/** Loads of slots: whole tokens, or means of many steps. */
export type SlotTokens = ArrayLike<number>;

/** Tokens that a rank receives over links: those within its node, or by class of link. */
export type ReceivedTokens = number | { readonly [link: string]: number };

/** What a rank's time depends on beside its slots. */
export interface RankTimeOptions {
  /**
   * Tokens that come from other ranks, and whose results go back. Default 0: then it is the experts' time
   * alone.
   */
  readonly tokensReceived?: ReceivedTokens;
  /** The rank's speed beside that of the model's device, above 0. Default 1. */
  readonly rankSpeed?: number;
}

/** What a layer's time depends on beside the slots of its ranks. */
export interface LayerTimeOptions {
  /**
   * Tokens that each rank receives. 'even': what its slots have, but for the share that is its own: tokens
   * begin on all ranks alike, in one node. Default: none.
   */
  readonly tokensReceived?: 'even' | readonly ReceivedTokens[];
  /** Speed of each rank. Default: all 1. */
  readonly rankSpeeds?: readonly number[];
}

/** The curve of a model's slots, for loops that have checked what they ask. */
export let curveOf: (cost: CostModel) => SlotCurve;

/** Whether a value is a cost model of this copy of the library. */
export let isCostModel: (value: object) => value is CostModel;

/** A speed is at least this and at most its inverse. */
const LEAST_SPEED = 1e-6;

/**
 * How long a device takes for its experts: of the time in a step, not of tokens. In a layer a rank takes
 *
 *     (fixed + sum over its slots of slotSeconds(tokens)
 *      + tokens received x (dispatch + combine bytes) / bandwidth of the link) / speed of the rank
 *
 * and the layer waits for its slowest rank. `slotSeconds` is a roofline, or a table that was measured. Made
 * by {@link costModel}; it cannot be changed.
 */
export class CostModel {
  readonly #json: CostModelJson;
  readonly #curve: SlotCurve;

  static {
    curveOf = (cost) => cost.#curve;
    isCostModel = (value): value is CostModel => #curve in value;
  }

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_SHAPE`, naming the field */
  constructor(init: CostModelInit, title = 'cost') {
    const fields = readCostFields(title, init);
    this.#curve = makeSlotCurve(`${title}.slotSeconds`, init.slotSeconds);
    this.#json = { ...fields, slotSeconds: this.#curve.json };
  }

  /** What it is called: a preset's name, or the file's. */
  get name(): string {
    return this.#json.name;
  }

  /** Bytes of one expert's weights in one layer. */
  get bytesPerExpert(): number {
    return this.#json.bytesPerExpert;
  }

  /** Seconds of a rank in a layer, whatever its slots have. */
  get fixedSeconds(): number {
    return this.#json.fixedSeconds;
  }

  /**
   * Seconds of a slot with so many tokens; between whole numbers of tokens, in proportion.
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE` unless `tokens` is finite and >= 0
   */
  slotSeconds(tokens: number): number {
    return this.#curve.secondsFor(checkAtLeast('tokens', tokens, 0));
  }

  /**
   * The fewest seconds that the copies of one expert take together for so many tokens, beyond those of idle
   * slots, however many copies there are.
   * @throws as {@link slotSeconds}
   */
  leastExpertSeconds(tokens: number): number {
    return this.#curve.leastFor(checkAtLeast('tokens', tokens, 0));
  }

  /**
   * Whether a slot with so many tokens waits for them, and not for its weights: twice as many take at least
   * half as long again.
   * @throws as {@link slotSeconds}
   */
  isBoundByTokens(tokens: number): boolean {
    return this.#curve.isBoundByTokens(checkAtLeast('tokens', tokens, 0));
  }

  /**
   * Seconds of a rank in a layer.
   *
   * @param tokensPerSlot tokens of each of its slots
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, naming the slot or the option
   * @example
   * ```ts
   * const cost = costModel({ slotSeconds: { floor: 2, perToken: 0.5 }, fixedSeconds: 1 });
   * cost.rankSeconds([1, 0, 8]); // 7
   * ```
   */
  rankSeconds(tokensPerSlot: SlotTokens, options: RankTimeOptions = {}): number {
    const { tokensReceived = 0, rankSpeed = 1 } = checkOptions('options', options, RANK_OPTIONS);
    checkWithin('rankSpeed', rankSpeed, LEAST_SPEED, 1 / LEAST_SPEED);
    const seconds = this.#slotsSeconds('tokensPerSlot', tokensPerSlot);
    return (this.#json.fixedSeconds + seconds + this.#exchangeSeconds(tokensReceived)) / rankSpeed;
  }

  /**
   * Seconds of a layer: those of its slowest rank.
   *
   * @param ranks of each rank, the tokens of each of its slots
   * @throws as {@link rankSeconds}; EplbRangeError `EPLB_SHAPE` for options of another number of ranks
   */
  layerSeconds(ranks: readonly SlotTokens[], options: LayerTimeOptions = {}): number {
    const { tokensReceived, rankSpeeds } = checkOptions('options', options, LAYER_OPTIONS);
    if (!Array.isArray(ranks)) {
      throw new EplbTypeError('EPLB_KIND', `ranks: ${show(ranks)} is not a list of slots' tokens`);
    }
    const received = tokensReceived === 'even' ? undefined : tokensReceived;
    checkCount('tokensReceived', received, ranks.length);
    checkCount('rankSpeeds', rankSpeeds, ranks.length);
    let slowest = 0;
    for (let rank = 0; rank < ranks.length; rank++) {
      const slots = checkObject(`ranks[${rank}]`, ranks[rank]!);
      const rankSpeed = rankSpeeds === undefined ? 1 : rankSpeeds[rank]!;
      const alone = this.rankSeconds(slots, { rankSpeed });
      // Only of slots that were checked is the sum taken.
      const own =
        tokensReceived === 'even'
          ? evenShare(slots, ranks.length)
          : received === undefined
            ? 0
            : received[rank]!;
      slowest = Math.max(slowest, alone + this.#exchangeSeconds(own) / rankSpeed);
    }
    return slowest;
  }

  /**
   * The links of a class.
   * @throws EplbRangeError `EPLB_RANGE` for a class that the model does not have
   */
  link(name: LinkClass): Required<Link> {
    const { links } = this.#json;
    if (Object.hasOwn(links, name)) return { ...links[name]! };
    const known = Object.keys(links).join(', ');
    throw new EplbRangeError('EPLB_RANGE', `link: ${show(name)} is none of this model: ${known}`);
  }

  /**
   * Seconds of a move of weights: so many rounds, and of the rank that sends or receives most, the bytes over
   * one class of links.
   * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, naming the argument
   */
  moveSeconds(bytes: number, link: LinkClass = 'intraNode', numRounds = 1): number {
    const { secondsPerRound, bandwidthShare } = this.#json.moves;
    const { bytesPerSecond } = this.link(link);
    checkWhole('numRounds', numRounds, 0);
    return numRounds * secondsPerRound + checkAtLeast('bytes', bytes, 0) / (bytesPerSecond * bandwidthShare);
  }

  /** All of it as plain data, everything that was left out filled in. {@link costModel} takes it again. */
  toJSON(): CostModelJson {
    return structuredClone(this.#json);
  }

  /** What the slots take, without what the rank takes anyway. */
  #slotsSeconds(title: string, tokensPerSlot: SlotTokens): number {
    const { length } = checkObject(title, tokensPerSlot);
    checkWhole(`${title}.length`, length, 0);
    let seconds = 0;
    for (let slot = 0; slot < length; slot++) {
      const tokens = tokensPerSlot[slot]!;
      if (typeof tokens !== 'number' || !(tokens >= 0 && tokens < Number.POSITIVE_INFINITY))
        checkAtLeast(`${title}[${slot}]`, tokens, 0);
      seconds += this.#curve.secondsFor(tokens);
    }
    return seconds;
  }

  /** What dispatch and combine take: each begins once, and sends the bytes of the tokens. */
  #exchangeSeconds(tokensReceived: ReceivedTokens): number {
    const { dispatchBytesPerToken, combineBytesPerToken } = this.#json;
    const byLink = typeof tokensReceived === 'number' ? { intraNode: tokensReceived } : tokensReceived;
    let bytesSeconds = 0;
    let latency = 0;
    for (const [name, tokens] of Object.entries(checkObject('tokensReceived', byLink))) {
      checkAtLeast(`tokensReceived.${name}`, tokens, 0);
      if (tokens === 0) continue;
      const { latencySeconds, bytesPerSecond } = this.link(name);
      bytesSeconds += (tokens * (dispatchBytesPerToken + combineBytesPerToken)) / bytesPerSecond;
      latency = Math.max(latency, latencySeconds);
    }
    return bytesSeconds + 2 * latency;
  }
}

function evenShare(slots: SlotTokens, numRanks: number): number {
  let sum = 0;
  for (let i = 0; i < slots.length; i++) sum += slots[i]!;
  return (sum * (numRanks - 1)) / numRanks;
}

function checkCount(title: string, values: readonly unknown[] | undefined, numRanks: number): void {
  if (values === undefined || (Array.isArray(values) && values.length === numRanks)) return;
  if (!Array.isArray(values)) throw new EplbTypeError('EPLB_KIND', `${title}: ${show(values)} is not a list`);
  throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${values.length} entries for ${numRanks} ranks`);
}

import { checkWhole, show } from '../core/checks.ts';
import { EplbRangeError, EplbTypeError } from '../core/errors.ts';
import { checkFields, checkSeconds, checkWithin, MOST_SECONDS } from './fields.ts';

/**
 * A slot's time by four figures: with tokens it takes the larger of `floor` and its tokens x `perToken`, the
 * tokens rounded up to whole tiles; without tokens it takes `idle`.
 */
export interface SlotRoofline {
  /** Seconds of a slot without tokens. Default 0. */
  readonly idle?: number;
  /** Seconds that a slot with tokens takes at least: its weights are read once. Default 0. */
  readonly floor?: number;
  /** Seconds for each token, where arithmetic is what is waited for. */
  readonly perToken: number;
  /** Tokens of a tile of the matrix product: a tile that is begun takes as long as a whole one. Default 1. */
  readonly tile?: number;
}

/**
 * A slot's time as measured: the straight line between two points, the first point's time below the first,
 * and the slope of the last two beyond the last.
 */
export interface SlotTable {
  /** Seconds of a slot without tokens. Default 0. */
  readonly idle?: number;
  /** Tokens, at least 1, rising. */
  readonly tokens: readonly number[];
  /** Seconds with so many tokens: never falling, none below `idle`. */
  readonly seconds: readonly number[];
  /** As of a {@link SlotRoofline}: the table is read at whole tiles. Default 1. */
  readonly tile?: number;
}

/** A curve with everything that was left out. */
export type SlotCurveJson = Required<SlotRoofline> | Required<SlotTable>;

/** A tile, or a point of a table, is of no more tokens. */
const MOST_TOKENS = 1e9;

/** Points of a table at most: more than that is not a measurement. */
const MOST_POINTS = 256;

/** Whole numbers of tokens that loops look up: most slots of most batches have fewer. */
const LISTED_TOKENS = 8192;

export type { SlotCurve };

/** Checks and makes a curve. A function, as an import of the library leaves this module out. */
export const makeSlotCurve = (...args: ConstructorParameters<typeof SlotCurve>): SlotCurve =>
  new SlotCurve(...args);

/** What one slot takes, by its tokens: never less for more tokens. */
class SlotCurve {
  readonly json: SlotCurveJson;
  /**
   * Whether the copies of an expert never take less, together, than one with the tokens of all. So it is
   * where seconds per token never rise.
   */
  readonly isSubadditive: boolean;
  /** The fewest seconds per token, beyond idle ones, anywhere on the curve. */
  readonly #leastPerToken: number;
  readonly #whole: (paddedTokens: number) => number;
  #listed: Float64Array | undefined;

  /** @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, `EPLB_SHAPE`, naming the field */
  constructor(title: string, given: SlotRoofline | SlotTable) {
    this.json = readCurve(title, given);
    const { idle } = this.json;
    const { tokens, seconds, slope, whole } =
      'tokens' in this.json ? tableLine(this.json) : rooflineLine(this.json);
    this.#whole = whole;
    const rates = [...tokens.map((at, i) => (seconds[i]! - idle) / at), slope];
    this.#leastPerToken = Math.min(...rates);
    this.isSubadditive = rates.every((rate, i) => i === 0 || rate <= rates[i - 1]!);
  }

  /**
   * Seconds of a slot. Between two whole numbers of tokens it is the straight line: 3 tokens over 2 copies
   * are one of 1 and one of 2, and half a token is a slot that has one in half of the steps.
   *
   * @param tokens finite, at least 0
   */
  secondsFor(tokens: number): number {
    const below = Math.floor(tokens);
    const seconds = this.#secondsOfWhole(below);
    return tokens === below
      ? seconds
      : seconds + (tokens - below) * (this.#secondsOfWhole(below + 1) - seconds);
  }

  /** [tokens]: {@link secondsFor} of the first whole numbers of tokens, for loops; not to be written. */
  get secondsOfFewTokens(): Float64Array {
    this.#listed ??= Float64Array.from({ length: LISTED_TOKENS }, (_, tokens) =>
      this.#secondsOfWhole(tokens),
    );
    return this.#listed;
  }

  /** The fewest seconds, beyond idle ones, that the copies of an expert take for so many tokens together. */
  leastFor(tokens: number): number {
    const { idle } = this.json;
    const inOne = this.secondsFor(tokens) - idle;
    if (this.isSubadditive) return inOne;
    const first = this.secondsFor(Math.min(1, tokens)) - idle;
    return Math.min(inOne, Math.max(first, tokens * this.#leastPerToken));
  }

  /** Whether a slot with twice the tokens takes at least half as long again. */
  isBoundByTokens(tokens: number): boolean {
    return tokens >= 1 && this.secondsFor(2 * tokens) >= 1.5 * this.secondsFor(tokens);
  }

  #secondsOfWhole(tokens: number): number {
    const { idle, tile } = this.json;
    return tokens === 0 ? idle : this.#whole(Math.ceil(tokens / tile) * tile);
  }
}

/** A curve as points, what it is between and beyond them, and its slope at last. */
interface Line {
  readonly tokens: readonly number[];
  readonly seconds: readonly number[];
  readonly slope: number;
  readonly whole: (tokens: number) => number;
}

function rooflineLine({ idle, floor, perToken }: Required<SlotRoofline>): Line {
  const least = Math.max(floor, idle);
  const whole = (tokens: number) => Math.max(least, tokens * perToken);
  // Where both lines meet, but for what is below one token.
  const meeting = perToken === 0 ? 1 : Math.max(1, least / perToken);
  return { tokens: [meeting], seconds: [whole(meeting)], slope: perToken, whole };
}

function tableLine({ tokens, seconds }: Required<SlotTable>): Line {
  const last = tokens.length - 1;
  const slope =
    last === 0
      ? seconds[0]! / tokens[0]!
      : (seconds[last]! - seconds[last - 1]!) / (tokens[last]! - tokens[last - 1]!);
  const whole = (at: number) => {
    if (at <= tokens[0]!) return seconds[0]!;
    if (at >= tokens[last]!) return seconds[last]! + (at - tokens[last]!) * slope;
    const next = tokens.findIndex((point) => point >= at);
    const share = (at - tokens[next - 1]!) / (tokens[next]! - tokens[next - 1]!);
    return seconds[next - 1]! + share * (seconds[next]! - seconds[next - 1]!);
  };
  return { tokens, seconds, slope, whole };
}

function readCurve(title: string, given: SlotRoofline | SlotTable): SlotCurveJson {
  checkFields(title, given);
  const isTable = 'tokens' in given || 'seconds' in given;
  checkFields(title, given, isTable ? ['idle', 'tokens', 'seconds', 'tile'] : ROOFLINE_FIELDS);
  const { idle: givenIdle = 0, tile: givenTile = 1 } = given;
  const idle = checkSeconds(`${title}.idle`, givenIdle);
  const tile = checkWhole(`${title}.tile`, givenTile, 1, MOST_TOKENS);
  if (!isTable) {
    const { floor = 0, perToken } = given as SlotRoofline;
    checkSeconds(`${title}.floor`, floor);
    return { idle, floor, perToken: checkSeconds(`${title}.perToken`, perToken), tile };
  }
  const table = given as SlotTable;
  const tokens = rising(`${title}.tokens`, table.tokens, 1, MOST_TOKENS, true);
  const seconds = rising(`${title}.seconds`, table.seconds, idle, MOST_SECONDS, false);
  if (tokens.length !== seconds.length) {
    const both = `${seconds.length} seconds for ${tokens.length} numbers of tokens`;
    throw new EplbRangeError('EPLB_SHAPE', `${title}: ${both}`);
  }
  return { idle, tokens, seconds, tile };
}

const ROOFLINE_FIELDS = ['idle', 'floor', 'perToken', 'tile'];

/** Copies numbers from `least` to `most` that never fall; each above the one before, where `strictly`. */
function rising(title: string, given: unknown, least: number, most: number, strictly: boolean): number[] {
  if (!Array.isArray(given)) {
    throw new EplbTypeError('EPLB_KIND', `${title}: ${show(given)} is not a list of numbers`);
  }
  if (given.length === 0 || given.length > MOST_POINTS) {
    throw new EplbRangeError('EPLB_SHAPE', `${title}: has ${given.length} entries, not 1 to ${MOST_POINTS}`);
  }
  let last = Number.NEGATIVE_INFINITY;
  return Array.from(given, (value: unknown, i) => {
    const number = checkWithin(`${title}[${i}]`, value, least, most);
    const before = last;
    last = number;
    if (strictly ? number > before : number >= before) return number;
    throw new EplbRangeError('EPLB_RANGE', `${title}[${i}]: ${number} after ${before}: they have to rise`);
  });
}

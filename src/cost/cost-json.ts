import { checkText, show } from '../core/checks.ts';
import { EplbRangeError } from '../core/errors.ts';
import { checkFields, checkSeconds, checkWithin } from './fields.ts';
import type { SlotCurveJson, SlotRoofline, SlotTable } from './slot-curve.ts';

/** Which network joins two ranks: of one node, of two nodes, or a class that the model's own file names. */
export type LinkClass = 'intraNode' | 'interNode' | (string & {});

/** A class of links. */
export interface Link {
  /** Seconds until the first byte arrives, the start of a collective operation included. Default 0. */
  readonly latencySeconds?: number;
  /** Of one rank, one way. */
  readonly bytesPerSecond: number;
  /**
   * The share of it that transfers of weights reach when a layer's are issued all at once, beside those that
   * go in rounds, above 0, at most 1. Default 1 for 'intraNode', where it was measured, and 0.7 for others,
   * as an assumption: cards that several send to at once get less through.
   */
  readonly batchShare?: number;
}

/** What moving weights costs beside their bytes. */
export interface MoveCost {
  /** Seconds that every round of transfers takes to begin and to end. Default 0. */
  readonly secondsPerRound?: number;
  /** The share of a link's bandwidth that transfers of weights reach, above 0, at most 1. Default 1. */
  readonly bandwidthShare?: number;
}

/**
 * What a cost model is made of: a JSON file's content. Only `slotSeconds` is needed. What is left out costs
 * nothing, unless another default is named.
 */
export interface CostModelInit {
  /** Where its JSON Schema is, for editors; not looked at. */
  readonly $schema?: string;
  /** Default 'custom'. */
  readonly name?: string;
  /** Where the figures are from: measured on a device, or computed from its peak figures. Default 'given'. */
  readonly basis?: 'measured' | 'computed' | 'given';
  /** On what, when and how: for people. Default: empty. */
  readonly source?: string;
  /** Seconds of a rank in a layer, whatever its slots have. */
  readonly fixedSeconds?: number;
  /** Seconds of a slot by its tokens. */
  readonly slotSeconds: SlotRoofline | SlotTable;
  /** Bytes that a token takes on its way to a rank. */
  readonly dispatchBytesPerToken?: number;
  /** Bytes that its result takes on its way back. */
  readonly combineBytesPerToken?: number;
  /** Bytes of one expert's weights in one layer. Default 88,080,384: 7,168 x 2,048 x 3 of 16 bits. */
  readonly bytesPerExpert?: number;
  /** By class; default 900e9 bytes a second within a node, 50e9 between nodes, without latency. */
  readonly links?: Readonly<Record<string, Link>>;
  readonly moves?: MoveCost;
}

/** A cost model with all its fields: what {@link CostModel.toJSON} gives. */
export interface CostModelJson {
  readonly name: string;
  readonly basis: 'measured' | 'computed' | 'given';
  readonly source: string;
  readonly fixedSeconds: number;
  readonly slotSeconds: SlotCurveJson;
  readonly dispatchBytesPerToken: number;
  readonly combineBytesPerToken: number;
  readonly bytesPerExpert: number;
  readonly links: Readonly<Record<string, Required<Link>>>;
  readonly moves: Required<MoveCost>;
}

const FIELDS = [
  '$schema',
  'name',
  'basis',
  'source',
  'fixedSeconds',
  'slotSeconds',
  'dispatchBytesPerToken',
  'combineBytesPerToken',
  'bytesPerExpert',
  'links',
  'moves',
];
const BASES = ['measured', 'computed', 'given'] as const;
const MOST_BYTES = 1e15;
const BATCH_SHARE_OF_CARDS = 0.7;
const LINKS: CostModelJson['links'] = {
  intraNode: { latencySeconds: 0, bytesPerSecond: 900e9, batchShare: 1 },
  interNode: { latencySeconds: 0, bytesPerSecond: 50e9, batchShare: BATCH_SHARE_OF_CARDS },
};

/**
 * Checks and copies all but the curve of the slots.
 * @throws EplbTypeError `EPLB_KIND`, EplbRangeError `EPLB_RANGE`, naming the field
 */
export function readCostFields(title: string, given: CostModelInit): Omit<CostModelJson, 'slotSeconds'> {
  checkFields(title, given, FIELDS);
  const { name = 'custom', basis = 'given', source = '', fixedSeconds = 0, moves = {}, links = {} } = given;
  const { dispatchBytesPerToken = 0, combineBytesPerToken = 0, bytesPerExpert = 88_080_384 } = given;
  const known = BASES.find((one) => one === basis);
  if (known === undefined) {
    throw new EplbRangeError('EPLB_RANGE', `${title}.basis: ${show(basis)} is none of ${BASES.join(', ')}`);
  }
  checkFields(`${title}.moves`, moves, ['secondsPerRound', 'bandwidthShare']);
  const { secondsPerRound = 0, bandwidthShare = 1 } = moves;
  return {
    name: checkText(`${title}.name`, name),
    basis: known,
    source: checkText(`${title}.source`, source),
    fixedSeconds: checkSeconds(`${title}.fixedSeconds`, fixedSeconds),
    dispatchBytesPerToken: bytes(`${title}.dispatchBytesPerToken`, dispatchBytesPerToken),
    combineBytesPerToken: bytes(`${title}.combineBytesPerToken`, combineBytesPerToken),
    bytesPerExpert: bytes(`${title}.bytesPerExpert`, bytesPerExpert),
    links: { ...LINKS, ...readLinks(`${title}.links`, links) },
    moves: {
      secondsPerRound: checkSeconds(`${title}.moves.secondsPerRound`, secondsPerRound),
      bandwidthShare: checkWithin(`${title}.moves.bandwidthShare`, bandwidthShare, 1e-9, 1),
    },
  };
}

function readLinks(title: string, given: Readonly<Record<string, Link>>): Record<string, Required<Link>> {
  const links = Object.entries(checkFields(title, given)).map(([name, link]) => {
    const of = `${title}.${name}`;
    checkFields(of, link, ['latencySeconds', 'bytesPerSecond', 'batchShare']);
    const { latencySeconds = 0, bytesPerSecond } = link;
    const { batchShare = name === 'intraNode' ? 1 : BATCH_SHARE_OF_CARDS } = link;
    checkSeconds(`${of}.latencySeconds`, latencySeconds);
    checkWithin(`${of}.bytesPerSecond`, bytesPerSecond, 1, MOST_BYTES);
    checkWithin(`${of}.batchShare`, batchShare, 1e-9, 1);
    return [name, { latencySeconds, bytesPerSecond, batchShare }] as const;
  });
  return Object.fromEntries(links);
}

function bytes(title: string, value: unknown): number {
  return checkWithin(title, value, 0, MOST_BYTES);
}

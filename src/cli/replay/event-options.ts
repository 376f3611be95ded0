import type { Command } from 'commander';
import { EplbRangeError } from '../../core/errors.ts';
import { MAX_SIZE } from '../../core/topology.ts';
import { quote } from '../../formats/text.ts';
import { ranksOfSet } from '../../formats/topology/rank-set.ts';
import type { RankEvent } from '../../replay/index.ts';
import { nodesWith } from '../../replay/rank-events.ts';
import type { PlacedDevices } from '../device-options.ts';

/** What is to become of ranks in the midst of a replay, as typed. */
export interface EventOptions {
  readonly fail?: readonly TypedEvent[];
  readonly recover?: readonly TypedEvent[];
  readonly slow?: readonly TypedEvent[];
  readonly grow?: readonly TypedEvent[];
}

interface TypedEvent {
  readonly kind: RankEvent['kind'];
  /** The ranks, or of `grow` how many; `node:2` is those of a node. */
  readonly ranks: string;
  readonly speed: number;
  readonly step: number;
  readonly text: string;
}

/** Events, and how each was typed. */
export interface ReplayEvents {
  readonly events: readonly RankEvent[];
  /** `--slow: "7:0.8@100"`, and so on. */
  readonly typed: readonly string[];
}

/** Options that say what becomes of ranks, each of which may be given several times. */
export function addEventOptions(command: Command): Command {
  return command
    .option(
      '--fail <R@STEP>',
      'ranks that die before a step: 12@400, 8-11,14@400 or node:2@400; may be repeated, as the next three',
      eventParser('fail'),
    )
    .option(
      '--recover <R@STEP>',
      'ranks that come back, empty: the next plan fills them',
      eventParser('recover'),
    )
    .option('--slow <R:X@STEP>', 'ranks that are X times as fast as others from then on', eventParser('slow'))
    .option('--grow <N@STEP>', 'so many more ranks, empty: the next plan fills them', eventParser('grow'));
}

const SHAPES: Readonly<Record<RankEvent['kind'], { readonly shape: RegExp; readonly example: string }>> = {
  fail: { shape: /^([^@]+)@(\d{1,15})$/, example: '12@400' },
  recover: { shape: /^([^@]+)@(\d{1,15})$/, example: '12@900' },
  slow: { shape: /^([^@]+):(\d*\.?\d+)@(\d{1,15})$/, example: '7:0.8@100' },
  grow: { shape: /^(\d{1,8})@(\d{1,15})$/, example: '8@2000' },
};

function eventParser(kind: RankEvent['kind']) {
  return (text: string, before: readonly TypedEvent[] = []): readonly TypedEvent[] => {
    const { shape, example } = SHAPES[kind];
    const match = shape.exec(text);
    if (match === null) {
      const message = `--${kind}: ${quote(text)} is not a change before a step; write it like ${example}`;
      throw new EplbRangeError('EPLB_OPTION', message);
    }
    const [, ranks = '', ...numbers] = match;
    const step = Number(numbers.at(-1));
    return [...before, { kind, ranks, speed: Number(numbers[0]), step, text }];
  };
}

/**
 * The events that options name, in the order of their steps.
 *
 * @param endStep the step after the last one that is replayed, where it is known
 * @throws EplbRangeError EPLB_RANGE, EPLB_NOT_WHOLE or EPLB_KIND, naming the option
 */
export function eventsOf(
  { fail = [], recover = [], slow = [], grow = [] }: EventOptions,
  { ranks, nodes, rankOptions }: PlacedDevices,
  endStep: number | null,
): ReplayEvents {
  const { nodeOfRank } = rankOptions;
  const nodesOf = nodesWith(
    { numRanks: ranks, numNodes: nodes, ...(nodeOfRank && { nodeOfRank }) },
    Math.min(
      MAX_SIZE,
      grow.reduce((sum, event) => sum + Number(event.ranks), 0),
    ),
  );
  const typed = [...fail, ...recover, ...slow, ...grow].sort((a, b) => a.step - b.step);
  for (const event of typed) {
    if (endStep === null || event.step < endStep) continue;
    const message = `${titleOf(event)}, but the last step that is replayed is ${endStep - 1}`;
    throw new EplbRangeError('EPLB_RANGE', message);
  }
  return { events: typed.map((event) => eventOf(event, nodesOf)), typed: typed.map(titleOf) };
}

function titleOf({ kind, text }: TypedEvent): string {
  return `--${kind}: ${quote(text)}`;
}

function eventOf(typed: TypedEvent, nodesOf: readonly number[]): RankEvent {
  const { kind, step, speed } = typed;
  if (kind === 'grow') return { kind, step, numRanks: Number(typed.ranks) };
  const ranks = ranksIn(titleOf(typed), typed.ranks, nodesOf);
  return kind === 'slow' ? { kind, step, ranks, speed } : { kind, step, ranks };
}

function ranksIn(title: string, text: string, nodesOf: readonly number[]): number[] {
  const node = /^node:(\d+)$/.exec(text);
  if (node === null) return ranksOfSet(title, text, nodesOf.length);
  const ranks = nodesOf.flatMap((own, rank) => (own === Number(node[1]) ? [rank] : []));
  if (ranks.length > 0) return ranks;
  throw new EplbRangeError('EPLB_RANGE', `${title}: there is no node ${node[1]}`);
}

/** What the library says of events, in the words of the options that they were typed with. */
export function eventsInOptions(message: string, { typed }: ReplayEvents): string {
  return message.replace(
    /^events\[(\d+)\](?:\.\w+)?(?:: \w+ before step \d+)?/,
    (_, index: string) => typed[Number(index)]!,
  );
}

import { bestWithin, type Sweep } from './sweep.ts';

/** A goal, and what was reached. */
export interface Reached {
  readonly what: string;
  readonly least: number;
  readonly value: number;
}

/**
 * FlashLB, as its authors' code was measured in the same protocol on every second layer: balancedness, and
 * moves a layer.
 */
interface Published {
  readonly balancedness: number;
  readonly moves: number;
}

interface Goals {
  readonly unpriced: number;
  /** With a tenth, and with a thirtieth, of the default policy's moves. */
  readonly tenth?: number;
  readonly thirtieth?: number;
  readonly flashLb: Published;
}

const GOALS: Readonly<Record<string, Goals>> = {
  'sequence, 16 ranks': {
    unpriced: 0.758,
    tenth: 0.748,
    thirtieth: 0.724,
    flashLb: { balancedness: 0.741, moves: 44.4 },
  },
  'sequence, 8 ranks': {
    unpriced: 0.855,
    tenth: 0.846,
    thirtieth: 0.832,
    flashLb: { balancedness: 0.841, moves: 13.5 },
  },
  'law, 16 ranks': { unpriced: 0.778, flashLb: { balancedness: 0.766, moves: 51.9 } },
  'intent, 16 ranks': { unpriced: 0.835, flashLb: { balancedness: 0.829, moves: 28.6 } },
  'summary, 16 ranks': { unpriced: 0.745, flashLb: { balancedness: 0.733, moves: 52 } },
  'gpt-oss, 8 ranks': { unpriced: 0.68, flashLb: { balancedness: 0.662, moves: 23 } },
};

/** What of a sweep is compared with its goals; nothing for recordings without any. */
export function reachedOf(sweep: Sweep): Reached[] {
  const goals = GOALS[sweep.row.name];
  if (goals === undefined) return [];
  const { unpriced, tenth, thirtieth, flashLb } = goals;
  const within = (moves: number) => bestWithin(sweep, moves).balancedness;
  const { movesPerLayer } = sweep.default;
  const name = (what: string) => `${sweep.row.name}: ${what}`;
  return [
    { what: name('no price'), least: unpriced, value: sweep.unpriced.balancedness },
    ...(tenth === undefined
      ? []
      : [{ what: name("a tenth of the default's moves"), least: tenth, value: within(movesPerLayer / 10) }]),
    ...(thirtieth === undefined
      ? []
      : [
          {
            what: name("a thirtieth of the default's moves"),
            least: thirtieth,
            value: within(movesPerLayer / 30),
          },
        ]),
    {
      what: name("FlashLB's, with a fifth of its moves"),
      least: flashLb.balancedness,
      value: within(flashLb.moves / 5),
    },
  ];
}

export const LEAST_COMPETITION_SCORE = 110;

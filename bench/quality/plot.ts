import type { Score } from './protocol.ts';
import type { Sweep } from './sweep.ts';

const WIDTH = 720;
const HEIGHT = 440;
const AREA = { left: 60, right: WIDTH - 24, top: 76, bottom: HEIGHT - 52 };
const MOVES = [0.5, 1, 2, 5, 10, 20, 50, 100];
/** Shapes tell the points apart too, not only colours. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #6e7781 }
  .grid { stroke: #8c959f; stroke-opacity: .3 }
  .line { fill: none; stroke-width: 2 }
  .a { stroke: #0969da; color: #0969da } .b { stroke: #bc4c00; color: #bc4c00 }
  .mark { fill: currentColor; stroke: none } .open { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #adbac7 }
    .a { stroke: #539bf5; color: #539bf5 } .b { stroke: #e0823d; color: #e0823d }
  }`;

/**
 * Draws balancedness against moves: the adaptive policy at all prices as a line, the default policy and the
 * one that knows the next steps as points, for each recording.
 *
 * @param sweeps at most two: as many colours there are
 * @returns SVG with a transparent background, readable on a light and on a dark one
 */
export function qualityPlot(sweeps: readonly Sweep[]): string {
  const scores = sweeps.flatMap((sweep) => [sweep.default, sweep.oracle, ...curveOf(sweep)]);
  const values = scores.map(({ balancedness }) => balancedness);
  const low = Math.floor(Math.min(...values) * 20) / 20;
  const high = Math.ceil(Math.max(...values) * 20) / 20;
  const place = placeFor(low, high);
  const levels = Array.from({ length: Math.round((high - low) * 20) + 1 }, (_, i) => low + i / 20);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">`,
    '<title>Balancedness of the next steps against moves</title>',
    `<style>${STYLE}\n</style>`,
    ...levels.flatMap((level) => [
      `<path class="grid" d="M${AREA.left} ${at(place.y(level))}H${AREA.right}"/>`,
      text(AREA.left - 8, place.y(level) + 4, level.toFixed(2), 'end'),
    ]),
    ...MOVES.flatMap((moves) => [
      `<path class="grid" d="M${at(place.x(moves))} ${AREA.top}V${AREA.bottom}"/>`,
      text(place.x(moves), AREA.bottom + 20, String(moves), 'middle'),
    ]),
    text((AREA.left + AREA.right) / 2, HEIGHT - 8, 'moves a layer and plan', 'middle'),
    text(AREA.left, 16, 'balancedness of the steps after each plan, ratio of sums', 'start'),
    ...sweeps.flatMap((sweep, i) => drawSweep(sweep, place, 'ab'[i]!, i)),
    '</svg>\n',
  ].join('\n');
}

type Place = ReturnType<typeof placeFor>;

function placeFor(low: number, high: number) {
  const [first, last] = [Math.log(MOVES[0]!), Math.log(MOVES.at(-1)!)];
  const [width, height] = [AREA.right - AREA.left, AREA.bottom - AREA.top];
  return {
    x: (moves: number) => AREA.left + ((Math.log(moves) - first) / (last - first)) * width,
    y: (value: number) => AREA.bottom - ((value - low) / (high - low)) * height,
  };
}

/** From the dearest price that still moves something to none. */
function curveOf({ priced, unpriced }: Sweep): Score[] {
  const scores = [...priced, unpriced].filter(({ movesPerLayer }) => movesPerLayer >= MOVES[0]!);
  return scores.sort((a, b) => a.movesPerLayer - b.movesPerLayer);
}

function drawSweep(sweep: Sweep, place: Place, colour: string, index: number): string[] {
  const spot = ({ movesPerLayer, balancedness }: Score): [number, number] => [
    place.x(movesPerLayer),
    place.y(balancedness),
  ];
  const curve = curveOf(sweep).map(spot);
  const legend = 36 + 18 * index;
  const sample = (shape: (x: number, y: number) => string, x: number, label: string) => [
    shape(x, legend - 4),
    text(x + 12, legend, label, 'start'),
  ];
  const dot = (x: number, y: number) =>
    `<circle class="mark ${colour}" cx="${at(x)}" cy="${at(y)}" r="3.5"/>`;
  const square = (x: number, y: number) =>
    `<rect class="mark ${colour}" x="${at(x - 5)}" y="${at(y - 5)}" width="10" height="10"/>`;
  const ring = (x: number, y: number) => `<circle class="open ${colour}" cx="${at(x)}" cy="${at(y)}" r="5"/>`;
  return [
    `<path class="line ${colour}" d="M${curve.map(([x, y]) => `${at(x)} ${at(y)}`).join('L')}"/>`,
    ...curve.map(([x, y]) => dot(x, y)),
    square(...spot(sweep.default)),
    ring(...spot(sweep.oracle)),
    ...sample(dot, AREA.left + 6, `${sweep.row.name}: adaptive`),
    ...sample(square, AREA.left + 226, 'default'),
    ...sample(ring, AREA.left + 306, 'default that knows the next steps'),
  ];
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${content}</text>`;
}

function at(position: number): string {
  return String(Math.round(position * 10) / 10);
}

import type { Figure } from './figure.ts';

const WIDTH = 720;
const HEIGHT = 420;
const AREA = { left: 64, right: WIDTH - 24, top: 56, bottom: HEIGHT - 56 };

/** Shapes tell the lines apart too, not only colours. */
const SERIES_CLASSES = ['a', 'b'];
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #6e7781 }
  .grid { stroke: #8c959f; stroke-opacity: .3 }
  .line { fill: none; stroke-width: 2 }
  .bound { fill: none; stroke-width: 1.5; stroke-dasharray: 5 4; stroke-opacity: .8 }
  .a { stroke: #0969da; color: #0969da } .b { stroke: #bc4c00; color: #bc4c00 }
  .grey { stroke: #6e7781 }
  .dot { fill: currentColor; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #adbac7 }
    .grey { stroke: #adbac7 }
    .a { stroke: #539bf5; color: #539bf5 } .b { stroke: #e0823d; color: #e0823d }
  }`;

interface Point {
  readonly slots: number;
  readonly ns: number;
}

interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/**
 * Draws the suite `scaling`: time per slot against slots, each way to grow with the curve that slots x
 * log(slots) would follow from its fewest slots on.
 *
 * @returns SVG with a transparent background, readable on a light and on a dark one
 */
export function scalingPlot(figures: readonly Figure[]): string {
  const series = seriesOf(figures);
  const points = series.flatMap((one) => [...one.points, ...boundOf(one.points)]);
  const mostNs = niceCeiling(Math.max(...points.map(({ ns }) => ns)));
  const slots = [...new Set(points.map((point) => point.slots))].sort((a, b) => a - b);
  const [first, last] = [Math.log2(slots[0]!), Math.log2(slots.at(-1)!)];
  const place: Place = {
    x: (count) => AREA.left + ((Math.log2(count) - first) / (last - first)) * (AREA.right - AREA.left),
    y: (ns) => AREA.bottom - (ns / mostNs) * (AREA.bottom - AREA.top),
  };
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">`,
    '<title>Time per slot against slots</title>',
    `<style>${STYLE}\n</style>`,
    ...axes(place, slots, mostNs),
    ...series.flatMap((one, i) => drawSeries(one, place, i)),
    ...boundLegend(series.length),
    '</svg>\n',
  ].join('\n');
}

interface Place {
  readonly x: (slots: number) => number;
  readonly y: (ns: number) => number;
}

/** Figures are called scaling/name of the series/number slots. */
function seriesOf(figures: readonly Figure[]): Series[] {
  const series = new Map<string, Point[]>();
  for (const { id, value } of figures) {
    const [, name, slots] = /^scaling\/(.+)\/(\d+) slots$/.exec(id) ?? [];
    if (name === undefined) continue;
    const points = series.get(name) ?? [];
    series.set(name, [...points, { slots: Number(slots), ns: value }]);
  }
  return Array.from(series, ([name, points]) => ({ name, points }));
}

function boundOf(points: readonly Point[]): Point[] {
  const { slots: fewest, ns } = points[0]!;
  return points.map(({ slots }) => ({ slots, ns: (ns * Math.log2(slots)) / Math.log2(fewest) }));
}

function axes({ x, y }: Place, slots: readonly number[], mostNs: number): string[] {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * mostNs);
  const middle = (AREA.top + AREA.bottom) / 2;
  return [
    ...ticks.flatMap((ns) => [
      `<path class="grid" d="M${AREA.left} ${at(y(ns))}H${AREA.right}"/>`,
      text(AREA.left - 8, y(ns) + 4, String(ns), 'end'),
    ]),
    ...slots.map((count) => text(x(count), AREA.bottom + 20, count.toLocaleString('en'), 'middle')),
    text((AREA.left + AREA.right) / 2, HEIGHT - 12, 'slots of a layer (each step doubles them)', 'middle'),
    `<text transform="translate(16 ${middle}) rotate(-90)" text-anchor="middle">time per slot, ns</text>`,
  ];
}

function drawSeries({ name, points }: Series, { x, y }: Place, index: number): string[] {
  const colour = SERIES_CLASSES[index % SERIES_CLASSES.length]!;
  const path = (line: readonly Point[]) =>
    `M${line.map(({ slots, ns }) => `${at(x(slots))} ${at(y(ns))}`).join('L')}`;
  const legend = AREA.left + 8 + index * 140;
  return [
    `<path class="bound ${colour}" d="${path(boundOf(points))}"/>`,
    `<path class="line ${colour}" d="${path(points)}"/>`,
    ...points.map(({ slots, ns }) => marker(colour, index, x(slots), y(ns))),
    `<path class="line ${colour}" d="M${legend} 24h28"/>`,
    marker(colour, index, legend + 14, 24),
    text(legend + 36, 28, name, 'start'),
  ];
}

/** The curves have the colours of their lines; what they are is said once. */
function boundLegend(index: number): string[] {
  const legend = AREA.left + 8 + index * 140;
  return [
    `<path class="bound grey" d="M${legend} 24h28"/>`,
    text(legend + 36, 28, 'slots × log(slots), from the fewest slots on', 'start'),
  ];
}

/** Circles for the first series, squares for the second. */
function marker(colour: string, index: number, x: number, y: number): string {
  if (index % 2 === 0) return `<circle class="dot ${colour}" cx="${at(x)}" cy="${at(y)}" r="4"/>`;
  return `<rect class="dot ${colour}" x="${at(x - 3.5)}" y="${at(y - 3.5)}" width="7" height="7"/>`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${content}</text>`;
}

function at(position: number): string {
  return String(Math.round(position * 10) / 10);
}

/** The next 4, 8, 12, 20, 40, 60, 80 ... above: a quarter of it is a round number. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 1.2, 1.6, 2, 4, 6, 8, 10, 12];
  return power * steps.find((step) => step * power >= value)!;
}

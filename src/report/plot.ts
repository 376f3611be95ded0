import { places } from '../formats/number-text.ts';
import { type Html, html } from './html.ts';

/** An axis: the values at its ends, and how they are read. */
export interface PlotAxis {
  readonly title: string;
  readonly from: number;
  readonly to: number;
  /** Equal distances are equal factors; needs ends above 0. */
  readonly isLog: boolean;
  readonly text: (value: number) => string;
}

/** A mark, with what a pointer that rests on it is told. */
export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  readonly name: string;
}

/** Points and lines over two axes. */
export interface Plot {
  /** What it shows, for those who do not see it. */
  readonly text: string;
  readonly x: PlotAxis;
  readonly y: PlotAxis;
  readonly points: readonly PlotPoint[];
  readonly lines: readonly (readonly (readonly [x: number, y: number])[])[];
}

/** Size of the picture and room around the plot, in its own units. */
const WIDTH = 480;
const HEIGHT = 320;
const MARGIN = { left: 68, right: 28, top: 30, bottom: 48 };

/** A plot as SVG that needs no script; its style sheet colours it. */
export function plotPicture({ text, x, y, points, lines }: Plot): Html {
  const left = (value: number) => MARGIN.left + placeOn(x, value) * (WIDTH - MARGIN.left - MARGIN.right);
  const top = (value: number) =>
    HEIGHT - MARGIN.bottom - placeOn(y, value) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const short = (value: number) => places(value, 1);
  const bottom = HEIGHT - MARGIN.bottom;
  const xTicks = ticksOf(x, 6).map(
    (value) => html`<text class="tick" x="${short(left(value))}" y="${bottom + 18}">${x.text(value)}</text>
`,
  );
  const yTicks = ticksOf(y, 6).map(
    (value) => html`<path class="grid" d="M${MARGIN.left} ${short(top(value))}H${WIDTH - MARGIN.right}"/>
<text class="tick end" x="${MARGIN.left - 6}" y="${short(top(value) + 4)}">${y.text(value)}</text>
`,
  );
  const drawn = lines.map((line) => {
    const corners = line.map(([at, value]) => `${short(left(at))} ${short(top(value))}`);
    return html`<path class="line" d="M${corners.join('L')}"/>\n`;
  });
  const marks = points.map(
    (
      point,
    ) => html`<circle cx="${short(left(point.x))}" cy="${short(top(point.y))}" r="3.5"><title>${point.name}
</title></circle>\n`,
  );
  return html`<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${text}">
${yTicks}${xTicks}
<path class="axis" d="M${MARGIN.left} ${MARGIN.top}V${bottom}H${WIDTH - MARGIN.right}"/>
<text class="title" x="4" y="16">${y.title}</text>
<text class="title middle" x="${(MARGIN.left + WIDTH) / 2}" y="${HEIGHT - 8}">${x.title}</text>
${drawn}${marks}</svg>`;
}

/** Where a value is, from 0 to 1. */
function placeOn({ from, to, isLog }: PlotAxis, value: number): number {
  return isLog ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
}

/** Round values between the ends, at most so many or a few more. */
export function ticksOf(
  { from, to, isLog }: Pick<PlotAxis, 'from' | 'to' | 'isLog'>,
  most: number,
): number[] {
  if (isLog) {
    const decades = Math.log10(to / from);
    const steps = decades <= 1.2 ? [1, 2, 3, 5] : decades <= 2.5 ? [1, 3] : [1];
    const powers = Array.from({ length: Math.ceil(decades) + 2 }, (_, i) => Math.floor(Math.log10(from)) + i);
    const all = powers.flatMap((power) => steps.map((step) => step * 10 ** power));
    const inside = all.filter((value) => value >= from * (1 - 1e-9) && value <= to * (1 + 1e-9));
    const every = Math.max(1, Math.ceil(inside.length / most));
    return inside.filter((_, i) => i % every === 0);
  }
  const rough = (to - from) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= rough * (1 - 1e-9))!;
  const first = Math.ceil(from / step - 1e-9);
  return Array.from({ length: Math.floor(to / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

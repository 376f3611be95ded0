import { times } from '../../formats/number-text.ts';
import { partColours } from './costs.ts';
import { divergingStops, gradientOf } from './diverging.ts';
import { byId, element } from './element.ts';
import { sweepKeys } from './pareto.ts';
import type { Report } from './report.ts';
import type { Selection } from './selection.ts';
import { lineColour, lineDash, readTheme } from './theme.ts';

const SVG = 'http://www.w3.org/2000/svg';

/** A box to tick for every line, with a piece of the line as it is drawn. */
export function makeLineBoxes(report: Report, selection: Selection): void {
  const boxes = report.lines.map(({ name }, i) => {
    const box = element('input', { type: 'checkbox' });
    box.checked = true;
    box.addEventListener('change', () => selection.showLine(i, box.checked));
    return element('label', {}, box, swatch('line'), name);
  });
  byId('lines').append(...boxes);
}

/** The legends in the colours in force. */
export function colourLegends(report: Report, selection: Selection): void {
  const theme = readTheme();
  document.querySelectorAll<SVGElement>('#lines .swatch').forEach((piece, i) => {
    const { colour } = report.lines[i]!;
    paint(piece, lineColour(theme, colour), lineDash(colour));
  });
  colourScale(report, selection);
  fillLegend('cost-legend', partColours(theme));
  if (report.sweep === undefined) return;
  const { policies } = sweepKeys(report.sweep, theme);
  fillLegend(
    'sweep-legend',
    policies.map(({ policy, colour }) => [policy, colour] as const),
  );
}

/** The scale of the heat maps, for what their cells show. */
export function colourScale({ largestShare }: Report, { view }: Selection): void {
  const most = largestShare[view];
  byId('heat-scale').style.background = gradientOf(divergingStops(readTheme(), most));
  byId('heat-mean').style.left = `${100 / most}%`;
  byId('heat-most').textContent = `${times(most)}×`;
}

/** Pieces of lines, and what they stand for. */
export function fillLineLegend(
  id: string,
  entries: readonly { readonly name: string; readonly colour: string; readonly dash: readonly number[] }[],
): void {
  const items = entries.map(({ name, colour, dash }) => {
    const piece = swatch('line');
    paint(piece, colour, dash);
    return element('li', {}, piece, name);
  });
  byId(id).replaceChildren(...items);
}

function fillLegend(id: string, entries: readonly (readonly [name: string, colour: string])[]): void {
  const items = entries.map(([name, colour]) => {
    const box = swatch('box');
    paint(box, colour, []);
    return element('li', {}, box, name);
  });
  byId(id).replaceChildren(...items);
}

/** A piece of a line, or a box; painted apart, since colours change with the light. */
function swatch(kind: 'line' | 'box'): SVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', `swatch ${kind}`);
  svg.setAttribute('viewBox', kind === 'line' ? '0 0 28 12' : '0 0 12 12');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', kind === 'line' ? 'M0 6H28' : 'M0 6H12');
  path.setAttribute('stroke-width', kind === 'line' ? '2.5' : '12');
  svg.append(path);
  return svg;
}

function paint(svg: SVGElement, colour: string, dash: readonly number[]): void {
  const path = svg.firstElementChild!;
  path.setAttribute('stroke', colour);
  path.setAttribute('stroke-dasharray', dash.join(' '));
}

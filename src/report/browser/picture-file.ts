import type { Chart } from './chart.ts';
import { readTheme, type Theme } from './theme.ts';

/** Sizes in pixels of the file, which has two for each of the page's. */
const SCALE = 2;
const MARGIN = 16 * SCALE;
const LINE = 26 * SCALE;
const LETTERS = 15 * SCALE;

/** What the colours of a heat map mean: they begin with 0. */
export interface ColourScale {
  /** Where each colour is, as a share of the whole. */
  readonly stops: readonly (readonly [place: number, colour: string])[];
  /** What the last colour stands for. */
  readonly most: string;
}

/** A chart as a PNG that stands alone: below its finding, its legend and its caption. */
export async function pictureFile(
  chart: Chart,
  host: HTMLElement,
  scale: ColourScale | undefined,
): Promise<Blob> {
  const drawn = chart.canvas();
  const theme = readTheme();
  const canvas = document.createElement('canvas');
  canvas.width = drawn.width + 2 * MARGIN;
  const context = canvas.getContext('2d')!;
  const font = (weight: number) => `${weight} ${LETTERS}px ${theme.font}`;
  context.font = font(600);
  const title = linesOf(context, titleOf(host), drawn.width);
  const entries = legendOf(host);
  const legendLines = scale !== undefined || entries.length > 0 ? 1 : 0;
  canvas.height = 2 * MARGIN + (title.length + legendLines) * LINE + drawn.height;
  context.fillStyle = theme.surface;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = 'middle';
  context.fillStyle = theme.ink;
  context.font = font(600);
  title.forEach((line, i) => {
    context.fillText(line, MARGIN, MARGIN + (i + 0.5) * LINE);
  });
  const y = MARGIN + (title.length + 0.5) * LINE;
  context.font = font(400);
  if (scale !== undefined) drawScale(context, y, scale, theme);
  else drawLegend(context, y, entries, theme);
  context.drawImage(drawn, MARGIN, MARGIN + (title.length + legendLines) * LINE);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob === null ? reject(new Error('no picture')) : resolve(blob)), 'image/png');
  });
}

/** The nearest heading above a chart, without its topic, and what its own figure is called. */
function titleOf(host: HTMLElement): string {
  const headings = [...document.querySelectorAll<HTMLElement>('h2, h3')];
  const above = headings.filter(
    (heading) => host.compareDocumentPosition(heading) & Node.DOCUMENT_POSITION_PRECEDING,
  );
  const heading = above.at(-1)?.cloneNode(true) as HTMLElement;
  heading.querySelector('.topic')?.remove();
  const name = host.id.startsWith('heat-') ? host.closest('figure')?.querySelector('figcaption') : undefined;
  return [heading.textContent, name?.textContent].filter(Boolean).join(' – ').trim();
}

/** A name, and how its mark is drawn. */
interface Entry {
  readonly name: string;
  readonly colour: string;
  readonly dash: readonly number[];
  readonly isLine: boolean;
}

/** What the legend beside a chart shows; of lines those that are. */
function legendOf(host: HTMLElement): Entry[] {
  const legend = document.getElementById(LEGENDS[host.id] ?? '');
  return [...(legend?.querySelectorAll<HTMLElement>('label, li') ?? [])].flatMap((item) => {
    const path = item.querySelector('path');
    if (path === null || item.querySelector<HTMLInputElement>('input')?.checked === false) return [];
    const dash = (path.getAttribute('stroke-dasharray') ?? '').split(' ').filter(Boolean).map(Number);
    const isLine = item.querySelector('.line') !== null;
    return [{ name: item.textContent ?? '', colour: path.getAttribute('stroke') ?? '', dash, isLine }];
  });
}

const LEGENDS: Readonly<Record<string, string>> = {
  'over-time': 'lines',
  saved: 'lines',
  costs: 'cost-legend',
  pareto: 'sweep-legend',
  rounds: 'link-legend',
};

function drawLegend(
  context: CanvasRenderingContext2D,
  y: number,
  entries: readonly Entry[],
  { ink }: Theme,
): void {
  let x = MARGIN;
  for (const { name, colour, dash, isLine } of entries) {
    const width = (isLine ? 28 : 12) * SCALE;
    context.strokeStyle = colour;
    context.lineWidth = (isLine ? 2.5 : 12) * SCALE;
    context.setLineDash(dash.map((length) => length * SCALE));
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + width, y);
    context.stroke();
    x += width + 6 * SCALE;
    context.fillStyle = ink;
    context.fillText(name, x, y);
    x += context.measureText(name).width + 20 * SCALE;
  }
}

/** The scale of a heat map, from 0 to the largest. */
function drawScale(context: CanvasRenderingContext2D, y: number, scale: ColourScale, theme: Theme): void {
  const [left, width, height] = [MARGIN + 16 * SCALE, 240 * SCALE, 12 * SCALE];
  const gradient = context.createLinearGradient(left, 0, left + width, 0);
  for (const [place, colour] of scale.stops) gradient.addColorStop(Math.min(1, place), colour);
  context.fillStyle = gradient;
  context.fillRect(left, y - height / 2, width, height);
  context.fillStyle = theme.ink;
  context.fillText('0', MARGIN, y);
  context.fillText(scale.most, left + width + 8 * SCALE, y);
}

/** Words put into lines that fit. */
function linesOf(context: CanvasRenderingContext2D, text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

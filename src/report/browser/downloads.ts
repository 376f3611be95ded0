import type { Chart } from './chart.ts';
import { byId, element } from './element.ts';
import { type ChartFigures, csvOf } from './figures.ts';
import { type ColourScale, pictureFile } from './picture-file.ts';

/**
 * Puts buttons below charts that save their figures as CSV and what they show as PNG.
 *
 * @param charts by the id of their element
 * @param scaleOf the scale of a heat map's colours, by the id of its element; of other charts undefined
 */
export function offerDownloads(
  charts: ReadonlyMap<string, Chart>,
  chartFigures: ChartFigures,
  scaleOf: (id: string) => ColourScale | undefined,
): void {
  for (const [name, figures] of Object.entries(chartFigures)) {
    const place = document.getElementById(`${name}-downloads`);
    if (place === null) continue;
    const csv = button('CSV', `${name}: save the figures as CSV`, () => {
      // The mark lets spreadsheets read it as UTF-8.
      const text = `\uFEFF${csvOf(figures())}`;
      save(`${name}.csv`, new Blob([text], { type: 'text/csv;charset=utf-8' }));
    });
    const pictures = (place.dataset.charts ?? '').split(' ').flatMap((id) => {
      const chart = charts.get(id);
      if (chart === undefined) return [];
      // Of two pictures the one that is meant: heat-before, heat-after.
      const text = id === name ? 'PNG' : `PNG ${id.split('-').at(-1)}`;
      return [
        button(text, `${id}: save the picture as PNG`, async () => {
          save(`${id}.png`, await pictureFile(chart, byId(id), scaleOf(id)));
        }),
      ];
    });
    place.append('Save ', csv, ...pictures);
  }
}

function button(text: string, label: string, action: () => void | Promise<void>): HTMLButtonElement {
  const made = element('button', { type: 'button', 'aria-label': label, title: label }, text);
  made.addEventListener('click', () => void action());
  return made;
}

/** Hands a file to the browser's downloads. */
function save(name: string, file: Blob): void {
  const url = URL.createObjectURL(file);
  element('a', { href: url, download: name }).click();
  // Some browsers only begin to read after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

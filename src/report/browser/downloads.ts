import type { Chart } from './chart.ts';
import { CHART_FIGURES } from './chart-figures.ts';
import { byId, element } from './element.ts';
import { csvOf } from './figures.ts';
import { pictureFile } from './picture-file.ts';
import type { Report } from './report.ts';
import type { Selection } from './selection.ts';

/**
 * Puts buttons below charts that save their figures as CSV and what they show as PNG.
 *
 * @param charts by the id of their element
 */
export function offerDownloads(
  report: Report,
  selection: Selection,
  charts: ReadonlyMap<string, Chart>,
): void {
  for (const [name, figures] of Object.entries(CHART_FIGURES)) {
    const place = document.getElementById(`${name}-downloads`);
    if (place === null) continue;
    const csv = button('CSV', `${name}: save the figures as CSV`, () => {
      // The mark lets spreadsheets read it as UTF-8.
      const text = `\uFEFF${csvOf(figures(report, selection))}`;
      save(`${name}.csv`, new Blob([text], { type: 'text/csv;charset=utf-8' }));
    });
    const pictures = (place.dataset.charts ?? '').split(' ').flatMap((id) => {
      const chart = charts.get(id);
      if (chart === undefined) return [];
      // Of two pictures the one that is meant: heat-before, heat-after.
      const text = id === name ? 'PNG' : `PNG ${id.split('-').at(-1)}`;
      return [
        button(text, `${id}: save the picture as PNG`, async () => {
          save(`${id}.png`, await pictureFile(chart, byId(id), selection, report));
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

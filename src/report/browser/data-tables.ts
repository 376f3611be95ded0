import { CHART_FIGURES } from './chart-figures.ts';
import { scrollBox, tableOf } from './figures.ts';
import type { Report } from './report.ts';
import type { Selection } from './selection.ts';

/** Fills the tables behind the charts: when one is opened, and again when what it shows changes. */
export function followTables(report: Report, selection: Selection): void {
  for (const [chart, figures] of Object.entries(CHART_FIGURES)) {
    const details = document.getElementById(`${chart}-figures`);
    // Nothing is saved where no policy plans, and a sweep has its tables: then the page has no such place.
    if (!(details instanceof HTMLDetailsElement)) continue;
    const fill = () => {
      if (!details.open) return;
      const caption = details.querySelector('summary')!.textContent ?? '';
      details.querySelector('.scroll')?.remove();
      details.append(scrollBox(caption, tableOf(figures(report, selection))));
    };
    details.addEventListener('toggle', fill);
    selection.onChange(fill);
  }
}

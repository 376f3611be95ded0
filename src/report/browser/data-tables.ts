import { type ChartFigures, scrollBox, tableOf } from './figures.ts';

/**
 * Fills the tables behind the charts: when one is opened, and again when what it shows changes.
 *
 * @param onChange has what it is given called whenever something else is chosen
 */
export function followTables(charts: ChartFigures, onChange: (fill: () => void) => void): void {
  for (const [chart, figures] of Object.entries(charts)) {
    const details = document.getElementById(`${chart}-figures`);
    // Nothing is saved where no policy plans, and a sweep has its tables: then the page has no such place.
    if (!(details instanceof HTMLDetailsElement)) continue;
    const fill = () => {
      if (!details.open) return;
      const caption = details.querySelector('summary')!.textContent ?? '';
      details.querySelector('.scroll')?.remove();
      details.append(scrollBox(caption, tableOf(figures())));
    };
    details.addEventListener('toggle', fill);
    onChange(fill);
  }
}

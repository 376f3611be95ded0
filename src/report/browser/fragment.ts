import type { Report } from './report.ts';
import type { Selection } from './selection.ts';

/** How long a choice has to stand before the address follows: browsers refuse very many changes. */
const QUIET_MS = 150;

/**
 * Keeps what is chosen in the page's address, `#policy=adaptive&layer=3&step=77`, and chooses what an address
 * says: when the page is opened, and when its fragment is changed. What it does not know is left as it is.
 *
 * @returns whether the page was opened with such an address
 */
export function followFragment(report: Report, selection: Selection): boolean {
  const wasGiven = choose(report, selection, location.hash);
  addEventListener('hashchange', () => choose(report, selection, location.hash));
  let timer: number | undefined;
  selection.onChange(() => {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState(null, '', fragmentOf(selection)), QUIET_MS);
  });
  return wasGiven;
}

/** The fragment of what is chosen. */
export function fragmentOf({ run, layer, step, isZoomed, range }: Selection): string {
  const fields = new URLSearchParams({ policy: run.name, layer: String(layer), step: String(step) });
  if (isZoomed) fields.set('steps', `${range.from}-${range.to - 1}`);
  return `#${fields}`;
}

function choose({ runs }: Report, selection: Selection, fragment: string): boolean {
  // A fragment without a value is that of a heading.
  if (!fragment.includes('=')) return false;
  const fields = new URLSearchParams(fragment.slice(1));
  const run = runs.findIndex(({ name }) => name === fields.get('policy'));
  if (run >= 0 && run !== selection.runIndex) selection.chooseRun(run);
  const layer = wholeNumber(fields.get('layer'));
  if (layer !== undefined) selection.chooseLayer(layer);
  const step = wholeNumber(fields.get('step'));
  if (step !== undefined) selection.chooseStep(step);
  const [from, last] = (fields.get('steps') ?? '').split('-').map(wholeNumber);
  if (from !== undefined && last !== undefined) selection.zoom({ from, to: last + 1 });
  return true;
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

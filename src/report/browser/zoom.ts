import type { Chart } from './chart.ts';
import { byId } from './element.ts';
import type { Selection } from './selection.ts';

/** Fields for the first and the last step that charts over time show, and a button back to all of them. */
export function followZoom(selection: Selection): void {
  const from = byId<HTMLInputElement>('zoom-from');
  const to = byId<HTMLInputElement>('zoom-to');
  const whole = byId<HTMLButtonElement>('zoom-whole');
  const { from: first, to: end } = selection.allSteps;
  for (const field of [from, to]) {
    field.min = String(first);
    field.max = String(end - 1);
    field.addEventListener('change', () => {
      const { range } = selection;
      const typed = (input: HTMLInputElement, old: number) =>
        Number.isNaN(input.valueAsNumber) ? old : input.valueAsNumber;
      selection.zoom({ from: typed(from, range.from), to: typed(to, range.to - 1) + 1 });
    });
  }
  whole.addEventListener('click', () => selection.zoom(selection.allSteps));
  const show = () => {
    const { range } = selection;
    from.value = String(range.from);
    to.value = String(range.to - 1);
    whole.disabled = !selection.isZoomed;
  };
  selection.onChange(show);
  show();
}

/** Lets a drag across a chart over time choose the steps that it shows, and a double click all of them. */
export function zoomByDrag(chart: Chart, selection: Selection): void {
  chart.onDrag((a, b) =>
    selection.zoom({ from: Math.floor(Math.min(a, b)), to: Math.ceil(Math.max(a, b)) + 1 }),
  );
  chart.onDoubleClick(() => selection.zoom(selection.allSteps));
}

import { grouped } from '../../formats/number-text.ts';
import { byId, element } from './element.ts';
import type { Report } from './report.ts';
import type { Selection } from './selection.ts';

/** Fields that choose policy, layer and step, and show what is chosen; all of them by keyboard too. */
export function followControls(report: Report, selection: Selection): void {
  const policy = byId<HTMLSelectElement>('policy');
  const layer = byId<HTMLInputElement>('layer');
  const step = byId<HTMLInputElement>('step');
  const slowest = byId<HTMLButtonElement>('slowest');
  policy.append(...report.runs.map(({ name }, i) => element('option', { value: String(i) }, name)));
  layer.max = String(report.numLayers - 1);

  policy.addEventListener('change', () => selection.chooseRun(Number(policy.value)));
  layer.addEventListener('input', () => selection.chooseLayer(layer.valueAsNumber));
  step.addEventListener('input', () => selection.chooseSample(step.valueAsNumber));
  const views = document.querySelectorAll<HTMLInputElement>('input[name="view"]');
  for (const view of views) {
    view.addEventListener('change', () => selection.chooseView(view.value === 'mean' ? 'mean' : 'p95'));
  }
  slowest.addEventListener('click', () => selection.chooseStep(selection.run.rankLoads.slowestStep));

  const show = () => {
    const { steps } = selection.run.rankLoads;
    policy.value = String(selection.runIndex);
    layer.value = String(selection.layer);
    step.max = String(steps.length - 1);
    step.value = String(selection.sample);
    // The slider counts sampled steps; what is read out is the step itself.
    step.setAttribute('aria-valuetext', `step ${grouped(selection.step)}`);
    layer.setAttribute('aria-valuetext', `layer ${selection.layer}`);
    byId('layer-value').textContent = String(selection.layer);
    byId('step-value').textContent = grouped(selection.step);
  };
  selection.onChange(show);
  show();
}

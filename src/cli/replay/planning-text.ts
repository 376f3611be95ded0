import { counted, seconds } from '../../formats/number-text.ts';
import type { ReplayConfiguration } from '../../replay/index.ts';
import { triggerText } from '../../replay/trigger-text.ts';

/** How plans are made, in words. */
export function planningText(configuration: ReplayConfiguration): string {
  const { trigger, windowSize, planningSeconds, layersPerStep } = configuration;
  const time = planningSeconds === 'measured' ? 'as measured' : `${seconds(planningSeconds)} each`;
  const pace = `${counted(layersPerStep, 'layer')} a step`;
  return `${triggerText(trigger)}, window of ${counted(windowSize, 'step')}, planning time ${time}, ${pace}`;
}

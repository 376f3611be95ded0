import { counted, seconds } from '../../formats/number-text.ts';
import type { ReplayConfiguration } from '../../replay/index.ts';
import { triggerText } from '../../replay/trigger-text.ts';

/**
 * How plans are made, in words.
 *
 * @param configurations of the policies that plan, which differ in their planning time alone
 */
export function planningText(configurations: readonly ReplayConfiguration[]): string {
  const { trigger, windowSize, layersPerStep } = configurations[0]!;
  const pace = `${counted(layersPerStep, 'layer')} a step`;
  const window = `window of ${counted(windowSize, 'step')}`;
  return `${triggerText(trigger)}, ${window}, planning time ${timeText(configurations)}, ${pace}`;
}

function timeText(configurations: readonly ReplayConfiguration[]): string {
  const texts = configurations.map(({ planningSeconds }) =>
    planningSeconds === 'measured' ? 'as measured' : seconds(planningSeconds),
  );
  const [first] = texts;
  if (texts.some((text) => text !== first)) {
    const all = configurations.map(({ policy }, i) => `${texts[i]} of ${policy}`);
    return `taken to be ${[...new Set(all)].join(', ')}`;
  }
  return first === 'as measured' ? first : `taken to be ${first} each`;
}

import { counted, grouped } from '../formats/number-text.ts';
import type { TriggerOptions } from './configuration.ts';

/**
 * What starts plans, for people: `every 32 steps or drift above 0.2`; `never` where no condition is given.
 */
export function triggerText(trigger: TriggerOptions): string {
  const { interval, loadThreshold, drift, require, checkEvery = 1 } = trigger;
  const conditions = [
    ...(interval === undefined ? [] : [everyText(interval)]),
    ...(loadThreshold === undefined ? [] : [`largest / smallest rank load above ${loadThreshold}`]),
    ...(drift === undefined ? [] : [`drift above ${drift}`]),
  ];
  if (conditions.length === 0) return 'never';
  const looks = checkEvery === 1 ? '' : `, looked at every ${grouped(checkEvery)} steps`;
  return conditions.join(require === 'all' ? ' and ' : ' or ') + looks;
}

function everyText(interval: number): string {
  return interval === 1 ? 'every step' : `every ${counted(interval, 'step')}`;
}

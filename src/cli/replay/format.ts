import type { ReplayConfiguration, TriggerOptions } from '../../replay/index.ts';
import { counted, duration, grouped } from '../text.ts';

/** A ratio as tables show it: four digits after the point. */
export function ratio(value: number): string {
  return value.toFixed(4);
}

/** Seconds with a unit that keeps three figures; negative ones too. */
export function seconds(value: number): string {
  if (value === 0) return '0 s';
  const ms = Math.abs(value) * 1000;
  const text = ms < 0.1 ? `${(ms * 1000).toPrecision(3)} us` : duration(ms);
  return value < 0 ? `-${text}` : text;
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes with a unit of powers of 1000 that keeps three figures. */
export function bytes(value: number): string {
  let unit = 0;
  let left = value;
  while (left >= 999.5 && unit < UNITS.length - 1) {
    left /= 1000;
    unit++;
  }
  return `${unit === 0 ? left : left.toPrecision(3)} ${UNITS[unit]}`;
}

/** A share in per cent: 12.3 %. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** What starts plans, in words. */
export function triggerText(trigger: TriggerOptions): string {
  const { interval, loadThreshold, drift, require, checkEvery } = trigger;
  const parts = [
    ...(interval === undefined ? [] : [interval === 1 ? 'every step' : `every ${grouped(interval)} steps`]),
    ...(loadThreshold === undefined ? [] : [`largest / smallest rank load above ${loadThreshold}`]),
    ...(drift === undefined ? [] : [`drift above ${drift}`]),
  ];
  if (parts.length === 0) return 'never';
  const looks = checkEvery === undefined || checkEvery === 1 ? '' : `, looked at every ${checkEvery} steps`;
  return parts.join(require === 'all' ? ' and ' : ' or ') + looks;
}

/** How plans are made, in words. */
export function planningText(configuration: ReplayConfiguration): string {
  const { trigger, windowSize, planningSeconds, layersPerStep } = configuration;
  const time = planningSeconds === 'measured' ? 'as measured' : `${seconds(planningSeconds)} each`;
  const pace = `${counted(layersPerStep, 'layer')} a step`;
  return `${triggerText(trigger)}, window of ${counted(windowSize, 'step')}, planning time ${time}, ${pace}`;
}

import { element } from './element.ts';

/** A tooltip: a heading, and lines of name and value. */
export function tip(heading: string, rows: readonly (readonly [name: string, value: string])[]): HTMLElement {
  const list = element('dl', {});
  for (const [name, value] of rows) list.append(element('dt', {}, name), element('dd', {}, value));
  return element('div', { class: 'tip' }, element('strong', {}, heading), list);
}

import { type Html, html } from './html.ts';

/**
 * A table that scrolls sideways where the window is narrow, by keyboard too, with a text about it above.
 *
 * @param id - of the page, unique; also the table's class
 * @param content - head and body
 * @param more - a class of the box: `tall` for one that scrolls downwards too
 */
export function scrollTable(id: string, about: Html, content: Html, more = ''): Html {
  const table = html`<table class="${id}" aria-labelledby="${id}-about">${content}</table>`;
  return html`<p class="about" id="${id}-about">${about}</p>
<div class="${`scroll ${more}`.trim()}" tabindex="0" role="region" aria-labelledby="${id}-about">${table}</div>`;
}

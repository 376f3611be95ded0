import { jsonText, printable } from '../core/printable.ts';

/** A piece of finished markup. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
}

/**
 * What may stand in a template: texts and numbers are escaped, markup stays, lists are put together, nothing
 * is left out.
 */
type HtmlPart = string | number | Html | undefined | readonly HtmlPart[];

/**
 * A template tag for markup that holds foreign text: a recording's or a policy's name may be anything. Parts
 * show as they are, {@link printable}, between tags and inside quoted attributes, and never become markup.
 *
 * @example
 * ```ts
 * html`<b title="${'"'}">${'<i>'}</b>`.markup; // <b title="&#34;">&#60;i&#62;</b>
 * ```
 */
export function html(texts: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  return new Html(texts.reduce((markup, text, i) => markup + markupOf(parts[i - 1]) + text));
}

function markupOf(part: HtmlPart): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.markup;
  if (Array.isArray(part)) return part.map(markupOf).join('');
  return withoutMarkup(printable(String(part)));
}

/** A text of our own with line breaks, as it is. */
export function textOfLines(text: string): Html {
  return new Html(withoutMarkup(text));
}

function withoutMarkup(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/**
 * JSON that may stand inside a `<script>` element: no text in it can end the element or start a comment,
 * whatever it holds. It parses to the same value.
 */
export function scriptJson(value: unknown): Html {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return new Html(jsonText(value).replace(/[<>&]/g, escaped));
}

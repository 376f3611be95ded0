import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the project. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A page for people, with its path from the root of the project. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

/** A fenced block of code. */
export interface Block {
  /** Where its first line is, from 1. */
  readonly line: number;
  /** The word behind the fence: `js`. */
  readonly language: string;
  readonly code: string;
  /** Every example of the page begins with it: it stands under the comment `<!-- prelude -->`. */
  readonly isPrelude: boolean;
}

/** Pages outside of docs/. */
const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'recordings/README.md'];

/** All pages for people, those of docs/ last. */
export function pages(): Page[] {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' });
  const docs = inDocs.filter((path) => path.endsWith('.md')).map((path) => join('docs', path));
  return [...PAGES, ...docs.sort()].map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

/** The fenced blocks of a page, in order. */
export function blocksOf({ text }: Page): Block[] {
  return [...text.matchAll(/^( *)```(\S*)[^\n]*\n(.*?)^ *```$/gms)].map((match) => {
    const [, indent = '', language = '', code = ''] = match;
    const before = text.slice(0, match.index);
    return {
      line: before.split('\n').length + 1,
      language,
      code: code.replace(new RegExp(`^ {0,${indent.length}}`, 'gm'), ''),
      isPrelude: before.trimEnd().endsWith('<!-- prelude -->'),
    };
  });
}

/** A page's text without its fenced blocks; its lines keep their numbers. */
export function proseOf({ text }: Page): string {
  return text.replace(/^( *)```.*?^ *```$/gms, (block) => '\n'.repeat(block.split('\n').length - 1));
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: Page): string[] {
  const seen = new Map<string, number>();
  return [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-');
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    return times === 0 ? anchor : `${anchor}-${times}`;
  });
}

/** What a page links to, pictures too. */
export function linksOf(page: Page): string[] {
  const prose = proseOf(page).replace(/`[^`\n]*`/g, '');
  const inMarkdown = [...prose.matchAll(/\]\(([^)\s]+)[^)]*\)/g)];
  const inHtml = [...prose.matchAll(/(?:src|srcset|href)="([^"]+)"/g)];
  return [...inMarkdown, ...inHtml].map(([, to = '']) => to);
}

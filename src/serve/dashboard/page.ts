import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { packageFile } from '../../core/package-file.ts';
import { packageVersion } from '../../core/version.ts';
import { readAssets } from '../../report/assets.ts';
import type { Reply } from '../reply.ts';
import { pageMarkup } from './page-markup.ts';

/**
 * What a browser may do with the page: run its own scripts, look as its own style sheet says, and ask the
 * service it came from. Nothing else is loaded, and no other page may hold it.
 */
const CONTENT_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS = {
  // A browser keeps what it got, and asks each time whether that is still the same.
  'cache-control': 'no-cache',
  'content-security-policy': CONTENT_POLICY,
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
};

interface PageFile {
  readonly operationId: string;
  readonly summary: string;
  readonly type: string;
  read(): Promise<string>;
}

const SCRIPT = 'text/javascript; charset=utf-8';
const STYLE = 'text/css; charset=utf-8';

/** The dashboard's own parts, as a bundler that takes them along knows them. */
const OWN = {
  'page.js': () => new URL('./dashboard/page.js', import.meta.url),
  'page.css': () => new URL('./dashboard/page.css', import.meta.url),
};
const readOwn = (name: keyof typeof OWN) => readFile(packageFile(`dashboard/${name}`, OWN[name]), 'utf8');

/** The page and what it loads, by path. */
export const PAGE_FILES: Readonly<Record<string, PageFile>> = {
  '/': {
    operationId: 'dashboardPage',
    summary: 'the dashboard, a page for browsers',
    type: 'text/html; charset=utf-8',
    read: async () => pageMarkup(packageVersion()),
  },
  '/dashboard/charts.js': {
    operationId: 'dashboardCharts',
    summary: 'its charts, which are those of reports',
    type: SCRIPT,
    read: async () => (await readAssets()).script,
  },
  '/dashboard/page.js': {
    operationId: 'dashboardScript',
    summary: 'its script',
    type: SCRIPT,
    read: () => readOwn('page.js'),
  },
  '/dashboard/report.css': {
    operationId: 'dashboardReportStyle',
    summary: 'the style sheet of reports, which it looks like',
    type: STYLE,
    read: async () => (await readAssets()).style,
  },
  '/dashboard/page.css': {
    operationId: 'dashboardStyle',
    summary: 'its own style sheet',
    type: STYLE,
    read: () => readOwn('page.css'),
  },
  '/dashboard/licences.txt': {
    operationId: 'dashboardLicences',
    summary: 'licences of the code of its charts',
    type: 'text/plain; charset=utf-8',
    read: async () => (await readAssets()).licences,
  },
};

const kept = new Map<string, Promise<Reply>>();

async function readFileOf({ type, read }: PageFile): Promise<Reply> {
  const content = await read();
  const etag = `"${createHash('sha256').update(content).digest('base64url')}"`;
  return { status: 200, type, content, headers: { ...HEADERS, etag } };
}

/**
 * A file of the page; without its content for who has it already. Hono's middleware for that would want
 * answers that go through it, and hash them each time.
 *
 * @param ifNoneMatch the header of that name
 * @throws (as a rejection) EplbError `EPLB_RUNTIME` where a bundler left the page's parts behind
 */
export async function pageFile(path: string, ifNoneMatch = ''): Promise<Reply> {
  let file = kept.get(path);
  if (file === undefined) {
    file = readFileOf(PAGE_FILES[path]!);
    kept.set(path, file);
    file.catch(() => kept.delete(path));
  }
  const whole = await file;
  const known: readonly string[] = ifNoneMatch.match(/"[^"]*"/g) ?? [];
  const isKnown = ifNoneMatch.trim() === '*' || known.includes(whole.headers!.etag!);
  return isKnown ? { ...whole, status: 304, content: '' } : whole;
}

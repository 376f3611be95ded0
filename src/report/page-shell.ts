import { contentPolicy } from './content-policy.ts';
import { Html, html } from './html.ts';

/**
 * A page around its body: it loads nothing, and runs nothing but its own script.
 *
 * @param script that the body has in it; none when left out
 */
export function pageAround(title: string, body: Html, style: string, script?: string): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy(style, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body>
${body}
</body>
</html>
`;
  return page.markup;
}

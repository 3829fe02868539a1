import { createHash } from 'node:crypto';
import { pictures } from '../diagnostics/visible';

/**
 * A piece of HTML: text that was escaped where it had to be. A class, as a string alone does not
 * show whether it was.
 */
export class Html {
  constructor(readonly text: string) {}
}

/** What a template takes. */
export type Part = Html | string | number | undefined | readonly Part[];

/** Builds HTML out of a template: what is put in is escaped unless it is HTML already. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(
    strings.map((text, i) => text + (i < parts.length ? render(parts[i]) : '')).join(''),
  );
}

function render(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  return typeof part === 'object' ? part.map(render).join('') : escapeHtml(String(part));
}

/**
 * Text as HTML shows it; control characters and what changes the direction of text become visible
 * marks.
 */
export function escapeHtml(text: string): string {
  return text
    .split(/([\t\n])/)
    .map((part) => (part === '\t' || part === '\n' ? part : pictures(part)))
    .join('')
    .replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A whole page that needs nothing but itself: no network, and no script but the one that is given, without which it reads as well. */
export function page(title: string, body: Html, script?: string): string {
  const allowed =
    script === undefined
      ? ''
      : `; script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`;
  const scriptPart = script === undefined ? undefined : new Html(`<script>${script}</script>`);
  return `<!doctype html>\n${
    html`<html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'${new Html(allowed)}"
        />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <style>
          ${new Html(STYLE)}
        </style>
      </head>
      <body>
        <main>${body}</main>
        ${scriptPart}
      </body>
    </html>`.text
  }\n`;
}

const STYLE = `
:root { --text: #1c2128; --soft: #57606a; --line: #d4d9df; --back: #ffffff; --card: #f6f8fa; --hit: #2da44e; --run: #0969da; --export: #8250df; --pull: #bf8700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9198a1; --line: #3d444d; --back: #0d1117; --card: #161b22; --hit: #3fb950; --run: #58a6ff; --export: #bc8cff; --pull: #d29922; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p { margin: .25rem 0; }
code, .mono { font-family: ui-monospace, monospace; font-size: .87em; overflow-wrap: anywhere; } main { overflow-wrap: anywhere; } td, th { overflow-wrap: normal; }
.soft { color: var(--soft); } .bad { color: var(--bad); }
.numbers { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; padding: 0; list-style: none; }
.numbers li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; min-width: 7.5rem; } .numbers b { display: block; font-size: 1.25rem; }
.row { display: grid; grid-template-columns: minmax(10rem, 22rem) minmax(0, 1fr) 4.5rem; gap: .25rem .75rem; align-items: center; padding: .2rem 0; border-top: 1px solid var(--line); }
.row .why { grid-column: 1 / -1; padding-left: 1rem; } .time { text-align: right; font-variant-numeric: tabular-nums; }
.track { background: var(--card); border-radius: .2rem; height: 1rem; position: relative; } .bar { position: absolute; top: 0; bottom: 0; border-radius: .2rem; min-width: 3px; background: var(--run); }
.hit { background: var(--hit); } .export { background: var(--export); } .pull { background: var(--pull); } .failed { background: var(--bad); }
.legend span { margin-right: 1rem; white-space: nowrap; } .legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .3rem; vertical-align: -1px; }
details { border-top: 1px solid var(--line); padding: .35rem 0; } summary { cursor: pointer; } summary:focus-visible { outline: 2px solid var(--run); outline-offset: 2px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-top: 1px solid var(--line); vertical-align: top; } th { color: var(--soft); font-weight: 600; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:hover { color: var(--text); } th button:focus-visible { outline: 2px solid var(--run); outline-offset: 2px; } th[aria-sort=descending] button::after { content: ' ↓'; } th[aria-sort=ascending] button::after { content: ' ↑'; }
table.sort td:last-child { min-width: 12rem; } table.sort code { display: inline-block; min-width: 12rem; }
svg.strip { width: 10rem; height: .9rem; margin-top: .25rem; background: var(--card); } ol.advice { padding-left: 1.5rem; } ol.advice li { padding: .35rem 0; border-top: 1px solid var(--line); } pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; font-size: .85em; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ul.tree { list-style: none; margin: 0; padding-left: 1rem; } ul.tree li { border-top: 1px solid var(--line); padding: .1rem 0; } ul.tree details { border: 0; padding: 0; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } .axis { stroke: var(--line); } .curve { fill: none; stroke-width: 2; }
@media (max-width: 40rem) { svg text { font-size: 20px; } .row { grid-template-columns: minmax(0, 1fr) 4.5rem; } .row .track { grid-column: 1 / -1; grid-row: 2; } main { padding: .75rem; } .numbers li { flex: 1 1 40%; min-width: 0; } }
@media print { :root { --text: #000; --soft: #444; --line: #bbb; --back: #fff; --card: #eee; } body { font-size: 10pt; } main { max-width: none; padding: 0; } .track, .bar, .legend i { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .row, tr, details { break-inside: avoid; } }
`;

// Draws docs/picture.svg, the README's picture: what a terminal shows of a rebuild, and the report
// of that build. Both are the real ones: `npm run picture` builds fixtures/hello in a terminal of
// its own and puts what comes out side by side.
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = process.cwd();
const COLUMNS = 96;
const ROWS = 40;
/** Pixels of a character cell, and around a panel. */
const CELL = { width: 7.8, height: 17 };
const PAD = 14;
const WIDTH = Math.ceil(COLUMNS * CELL.width) + 2 * PAD;
/** Of the report its head, its numbers and its time line. */
const REPORT_HEIGHT = 770;

/**
 * Colours of a terminal by the number of SGR; readable on both themes' panel, which is dark.
 * ECMA-48, 8.3.117.
 */
const COLORS: Readonly<Record<number, string>> = {
  31: '#ff7b72',
  32: '#3fb950',
  33: '#d29922',
  34: '#58a6ff',
  36: '#39c5cf',
};
const TEXT = '#e6edf3';

interface Cell {
  readonly character: string;
  readonly color: string;
  readonly bold: boolean;
}

/** As much of a terminal as mbuild's progress asks for: moves up, erasing, colours. */
class Screen {
  readonly lines: Cell[][] = [[]];
  #row = 0;
  #column = 0;
  #color = TEXT;
  #bold = false;

  write(text: string): void {
    for (const [token] of text.matchAll(/\x1b\[[?\d;]*[A-Za-z]|[^\x1b]/gu)) {
      const [, parameters = '', command = ''] = /^\x1b\[([?\d;]*)([A-Za-z])$/.exec(token) ?? [];
      if (command === '') this.#character(token);
      else this.#command(command, parameters);
    }
  }

  #command(command: string, parameters: string): void {
    const line = this.lines[this.#row] ?? [];
    if (command === 'A') this.#row = Math.max(0, this.#row - Number(parameters || 1));
    if (command === 'K') line.splice(this.#column);
    if (command === 'J') {
      line.splice(this.#column);
      this.lines.splice(this.#row + 1);
    }
    if (command === 'm') for (const code of parameters.split(';')) this.#style(Number(code));
  }

  #style(code: number): void {
    if (code === 1) this.#bold = true;
    if (code === 0 || code === 22) this.#bold = false;
    if (code === 0 || code === 39) this.#color = TEXT;
    this.#color = COLORS[code] ?? this.#color;
  }

  #character(character: string): void {
    if (character === '\r') this.#column = 0;
    else if (character === '\n') {
      this.#row += 1;
      this.lines[this.#row] ??= [];
    } else if (character >= ' ') {
      const line = (this.lines[this.#row] ??= []);
      while (line.length < this.#column) line.push({ character: ' ', color: TEXT, bold: false });
      line[this.#column] = { character, color: this.#color, bold: this.#bold };
      this.#column += 1;
    }
  }
}

const home = mkdtempSync(join(tmpdir(), 'mbuild-picture-'));
try {
  const env = {
    ...process.env,
    MBUILD_ROOT: join(home, 'store'),
    PATH: `${join(ROOT, 'bin')}:${process.env['PATH'] ?? ''}`,
    TERM: 'xterm-256color',
  };
  const run = (...args: string[]) => execFileSync('mbuild', args, { env, stdio: 'pipe' });
  execFileSync('sh', ['test/support/small-base.sh', join(home, 'base.tar')], { env });
  run('import', join(home, 'base.tar'), 'small-base');
  const project = join(home, 'hello');
  cpSync(join(ROOT, 'fixtures/hello'), project, { recursive: true });
  run('build', project);
  appendFileSync(join(project, 'greeting.txt'), 'Good morning,\n');

  const screen = new Screen();
  for (const command of ['mbuild build -t hello .', "mbuild explain '~0' :6"])
    screen.write(
      `\x1b[1m$ ${command}\x1b[0m\r\n${inTerminal(command, project, env).replaceAll(project, '~/hello')}\r\n`,
    );
  run('report', '-o', join(home, 'report.html'));
  const report = readFileSync(join(home, 'report.html'), 'utf8').replaceAll(project, '~/hello');
  writeFileSync(join(ROOT, 'docs/picture.svg'), draw(screen.lines, report));
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** What a command writes to a terminal of its own. script(1) of util-linux. */
function inTerminal(command: string, cwd: string, env: NodeJS.ProcessEnv): string {
  const script = `stty cols ${COLUMNS} rows ${ROWS}; ${command}`;
  const { stdout, status } = spawnSync('script', ['-qec', script, '/dev/null'], { cwd, env });
  if (status !== 0) throw new Error(`${command} ended with ${status}\n${stdout.toString()}`);
  return stdout.toString();
}

function draw(lines: readonly (readonly Cell[])[], report: string): string {
  const shown = lines.slice(0, lines.findLastIndex((line) => line.length > 0) + 1);
  const terminalHeight = shown.length * CELL.height + 2 * PAD;
  const texts = shown.map((line, i) => textLine(line, PAD + (i + 0.75) * CELL.height));
  const [, style = ''] = /<style>(.*?)<\/style>/s.exec(report) ?? [];
  const [, main = ''] = /<body>(.*?)<\/body>/s.exec(report) ?? [];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${terminalHeight + REPORT_HEIGHT + PAD}" role="img" aria-label="A rebuild after one file changed: a terminal with mbuild build and mbuild explain, and the report of the build">
<rect width="${WIDTH}" height="${terminalHeight}" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13">
${texts.join('\n')}
</g>
<foreignObject y="${terminalHeight + PAD}" width="${WIDTH}" height="${REPORT_HEIGHT}">
<div xmlns="http://www.w3.org/1999/xhtml" class="page"><style>${escapeXml(styleOf(style))}</style>${asXml(main)}</div>
</foreignObject>
</svg>
`;
}

/** The page's style for a part of a picture, where there is neither html nor body. */
function styleOf(style: string): string {
  const own = style.replaceAll('body {', '.page {').replace(/^svg .*$/m, '');
  return `${own} .page { border: 1px solid var(--line); border-radius: 8px; height: ${REPORT_HEIGHT - 2}px; overflow: hidden; }`;
}

/** Words of one colour, with where the first of their characters stands. */
interface Run {
  readonly at: number;
  text: string;
  readonly cell: Cell;
}

/**
 * A line as runs, each at its column: it stands as in the terminal whatever the font, and has no
 * two spaces that a viewer may join.
 */
function textLine(line: readonly Cell[], y: number): string {
  const runs: Run[] = [];
  for (const [at, cell] of line.entries()) {
    if (cell.character === ' ') continue;
    const last = runs.at(-1);
    const gap = last === undefined ? 0 : at - last.at - [...last.text].length;
    const isSame = last?.cell.color === cell.color && last.cell.bold === cell.bold;
    if (last !== undefined && isSame && gap < 2) last.text += ' '.repeat(gap) + cell.character;
    else runs.push({ at, text: cell.character, cell });
  }
  return runs.map((run) => textOf(run, y)).join('');
}

function textOf({ at, text, cell }: Run, y: number): string {
  const weight = cell.bold ? ' font-weight="bold"' : '';
  const x = (PAD + at * CELL.width).toFixed(1);
  const width = ([...text].length * CELL.width).toFixed(1);
  return `<text x="${x}" y="${y.toFixed(1)}" textLength="${width}" fill="${cell.color}"${weight}>${escapeXml(text)}</text>`;
}

/** The page without what only HTML allows: attributes without a value. */
function asXml(html: string): string {
  return html.trim().replace(/<details open>/g, '<details open="open">');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

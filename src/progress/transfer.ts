import type { BuildEvent, TransferState } from './events';
import type { Renderer, Write } from './renderer';
import { cleanLine } from './sanitize';
import { humanSize } from './units';
import { ellipsis } from './width';

/** What is shown: an image that comes, or one that goes. */
export type TransferKind = 'pull' | 'push';

/** The terminal that is drawn on; absent where progress is only ever appended to. */
export interface TransferScreen {
  readonly size: () => { readonly columns: number; readonly rows: number };
}

/** The part of a transfer that has a line. */
interface Part {
  state: TransferState;
  current: number;
  total: number | undefined;
}

/** Docker's words: moby, distribution/xfer and pkg/progress. */
const WORDS: Readonly<Record<TransferKind, Readonly<Record<TransferState, string>>>> = {
  pull: {
    waiting: 'Waiting',
    downloading: 'Downloading',
    verifying: 'Verifying Checksum',
    extracting: 'Extracting',
    preparing: 'Preparing',
    uploading: 'Uploading',
    exists: 'Already exists',
    mounted: 'Already exists',
    done: 'Pull complete',
    retrying: 'Retrying',
  },
  push: {
    waiting: 'Waiting',
    downloading: 'Downloading',
    verifying: 'Verifying Checksum',
    extracting: 'Extracting',
    preparing: 'Preparing',
    uploading: 'Pushing',
    exists: 'Layer already exists',
    mounted: 'Mounted from another repository',
    done: 'Pushed',
    retrying: 'Retrying',
  },
};
const MOVING: ReadonlySet<TransferState> = new Set([
  'downloading',
  'extracting',
  'uploading',
  'preparing',
  'retrying',
]);
/** Milliseconds between two frames. */
const FRAME = 80;
const BAR = 50;

/**
 * Shows the layers of one image as docker does: a line each, `e6ea9be65f2a: Downloading [==>   ] 1.2MB/3.4MB`. On a terminal lines are
 * redrawn in place; elsewhere a line is written whenever a layer comes to another state.
 */
export function transferRenderer(
  write: Write,
  kind: TransferKind,
  screen?: TransferScreen,
): Renderer {
  return screen === undefined
    ? new AppendingRenderer(write, kind)
    : new DrawingRenderer(write, kind, screen);
}

class AppendingRenderer implements Renderer {
  readonly #states = new Map<string, TransferState>();

  constructor(
    readonly write: Write,
    readonly kind: TransferKind,
  ) {}

  readonly events = (event: BuildEvent): void => {
    if (event.kind === 'note') this.write(`${cleanLine(event.text)}\n`);
    if (event.kind !== 'status' || this.#states.get(event.item) === event.state) return;
    const before = this.#states.get(event.item);
    this.#states.set(event.item, event.state);
    if (this.kind === 'pull' && before === undefined && event.state === 'waiting')
      this.#line(event.item, 'Pulling fs layer');
    else if (event.state === 'extracting')
      this.#line(
        event.item,
        before === 'downloading' || before === 'retrying' ? 'Download complete' : 'Extracting',
      );
    else if (event.state !== 'downloading' && event.state !== 'uploading')
      this.#line(event.item, WORDS[this.kind][event.state]);
  };

  tick(): void {}

  finish(): void {}

  #line(item: string, text: string): void {
    this.write(`${cleanLine(item)}: ${text}\n`);
  }
}

class DrawingRenderer implements Renderer {
  readonly #parts = new Map<string, Part>();
  #notes: string[] = [];
  #drawn = 0;
  #lastFrame = 0;
  #over = false;

  constructor(
    readonly write: Write,
    readonly kind: TransferKind,
    readonly screen: TransferScreen,
  ) {}

  readonly events = (event: BuildEvent): void => {
    if (event.kind === 'note') this.#notes.push(cleanLine(event.text));
    if (event.kind === 'status')
      this.#parts.set(event.item, {
        state: event.state,
        current: event.current,
        total: event.total,
      });
  };

  tick(now: number): void {
    if (this.#over || now - this.#lastFrame < FRAME) return;
    this.#lastFrame = now;
    this.#draw(true);
  }

  finish(): void {
    if (this.#over) return;
    this.#draw(false);
    this.#over = true;
  }

  /**
   * A live frame is never higher than the terminal: what goes out at the top could not be drawn
   * over.
   */
  #draw(live: boolean): void {
    const { columns, rows } = this.screen.size();
    const all = [...this.#parts].map(([item, part]) =>
      ellipsis(`${cleanLine(item)}: ${this.#text(part, columns)}`, Math.max(1, columns - 1)),
    );
    const lines = live && all.length > rows - 1 ? all.slice(-Math.max(1, rows - 1)) : all;
    const notes = this.#notes.splice(0);
    if (lines.length === 0 && notes.length === 0) return;
    this.write(
      `${this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`}${[...notes, ...lines].map((line) => `\r\x1b[2K${line}\n`).join('')}`,
    );
    this.#drawn = lines.length;
  }

  #text({ state, current, total }: Part, columns: number): string {
    const word = WORDS[this.kind][state];
    if (!MOVING.has(state) || total === undefined || total === 0) return word;
    const share = Math.min(1, current / total);
    const sizes = `${humanSize(current)}/${humanSize(total)}`;
    const width = Math.min(BAR, columns - 16 - word.length - sizes.length);
    if (width < 10) return `${word} ${sizes}`;
    const filled = Math.round(share * width);
    const bar =
      filled === 0 ? ' '.repeat(width) : `${'='.repeat(filled - 1)}>${' '.repeat(width - filled)}`;
    return `${word} [${bar}] ${sizes}`;
  }
}

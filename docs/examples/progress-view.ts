// A progress view of one's own: node progress-view.js DIRECTORY
// One line with a bar on a terminal, and one line a step elsewhere.
import { Mbuild, type BuildEvent, type VertexId } from 'mbuild';

/** Counts steps and draws how far the build is. */
class Bar {
  readonly #names = new Map<VertexId, string>();
  readonly #running = new Set<VertexId>();
  #done = 0;

  constructor(private readonly screen: NodeJS.WriteStream) {}

  take(event: BuildEvent): void {
    if (event.kind === 'vertex') this.#names.set(event.id, event.name);
    if (event.kind === 'started') this.#running.add(event.id);
    if (event.kind === 'done' || event.kind === 'failed') {
      this.#running.delete(event.id);
      this.#done += 1;
      if (!this.screen.isTTY) this.screen.write(`${event.kind} ${this.#names.get(event.id)}\n`);
    }
    if (this.screen.isTTY) this.screen.write(`\r\x1b[K${this.#line()}`);
  }

  end(): void {
    if (this.screen.isTTY) this.screen.write('\n');
  }

  #line(): string {
    const total = this.#names.size;
    const filled = Math.round((20 * this.#done) / Math.max(total, 1));
    const bar = '█'.repeat(filled).padEnd(20, '░');
    const now = [...this.#running].map((id) => this.#names.get(id)).join(', ');
    return `${bar} ${this.#done}/${total} ${now}`.slice(0, this.screen.columns);
  }
}

async function main(): Promise<void> {
  const mbuild = await Mbuild.open();
  const bar = new Bar(process.stderr);
  try {
    const { names, imageId } = await mbuild.build(
      { context: process.argv[2] ?? '.' },
      { onEvent: (event) => bar.take(event) },
    );
    bar.end();
    console.log(names[0] ?? imageId);
  } finally {
    await mbuild.close();
  }
}

void main();

import type { Graph, StagePlan, Step } from '../graph/graph';
import type { EventSink, VertexId } from '../progress/events';

/**
 * The vertices of a graph's steps and base images. All are announced at once, so that a renderer
 * knows how much is to come.
 */
export class Vertices {
  readonly #ids = new Map<string, VertexId>();

  constructor(
    { stages }: Graph,
    private readonly newVertex: () => VertexId,
    private readonly events: EventSink,
  ) {
    for (const { index, name: stage, base, steps } of stages) {
      if (base.kind === 'image')
        this.#announce(`base ${index}`, base.stepName, stage, base.range.start.line);
      for (const { id, name, range } of steps)
        this.#announce(`step ${id}`, name, stage, range.start.line);
    }
  }

  ofStep({ id }: Step): VertexId {
    return this.#of(`step ${id}`);
  }

  ofBase({ index }: StagePlan): VertexId {
    return this.#of(`base ${index}`);
  }

  #announce(what: string, name: string, stage: string, line: number): void {
    const id = this.newVertex();
    this.#ids.set(what, id);
    this.events({ kind: 'vertex', id, name, stage, line });
  }

  #of(what: string): VertexId {
    const id = this.#ids.get(what);
    if (id === undefined) throw new Error(`${what} was not announced`);
    return id;
  }
}

import { build, type BuildOptions, type BuildResult } from '../build';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { Image } from '../images/store/image-store';
import { formatPlatform, hostPlatform } from '../oci/platform';
import type { BuildEvent, BuildScope, EventSink, VertexId } from '../progress/events';
import { linkedTarget } from './build-call';

/** A target that is to be built. */
export interface BakeItem {
  readonly name: string;
  readonly options: BuildOptions;
  /** The targets whose images it starts from or copies out of: they are built before. */
  readonly needs: readonly string[];
  /** It is built for others alone. */
  readonly linked: boolean;
}

/**
 * Targets that are built at once. What they share is done once: steps of one store run in one of
 * them.
 */
const AT_ONCE = 4;

/**
 * Builds all targets, each when those that it needs are built. The first failure ends the others.
 * @returns what each target made, in the order of `items`
 * @throws what a build throws.
 */
export async function buildAll(
  items: readonly BakeItem[],
  engine: Engine,
  scope: BuildScope,
): Promise<ReadonlyMap<string, BuildResult>> {
  return new Baking(items, engine, scope).run();
}

class Baking {
  readonly #waiting: Set<BakeItem>;
  readonly #results = new Map<string, BuildResult>();
  readonly #gaveUp = new AbortController();
  readonly #events: (item: BakeItem) => EventSink;
  readonly #engine: Engine;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    private readonly items: readonly BakeItem[],
    engine: Engine,
    private readonly scope: BuildScope,
  ) {
    this.#waiting = new Set(items);
    this.#engine = { ...engine, findBase: this.#findBase(engine) };
    this.#events = named(scope.events, items.length > 1);
  }

  async run(): Promise<ReadonlyMap<string, BuildResult>> {
    const stop = (): void => this.#gaveUp.abort(this.scope.signal.reason);
    this.scope.signal.addEventListener('abort', stop);
    try {
      await this.#drain(new Map());
    } finally {
      this.scope.signal.removeEventListener('abort', stop);
      this.#forgetLinked();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    return new Map(
      this.items.flatMap(({ name }) => {
        const result = this.#results.get(name);
        return result === undefined ? [] : [[name, result]];
      }),
    );
  }

  /** Starts what can be started, waits for one to end, and so on. */
  async #drain(running: Map<BakeItem, Promise<BakeItem>>): Promise<void> {
    for (;;) {
      if (this.#failure === undefined && !this.scope.signal.aborted)
        for (const item of this.#ready(AT_ONCE - running.size))
          running.set(item, this.#buildOne(item));
      if (running.size === 0) break;
      running.delete(await Promise.race(running.values()));
    }
    this.#failure ??= this.scope.signal.aborted ? { error: this.scope.signal.reason } : undefined;
    const [stuck] = this.#waiting;
    if (stuck !== undefined && this.#failure === undefined)
      throw new MbuildError(
        'INTERNAL',
        `target ${stuck.name} waits for a target that is not built`,
      );
  }

  #ready(places: number): BakeItem[] {
    return [...this.#waiting]
      .filter(({ needs }) => needs.every((name) => this.#results.has(name)))
      .slice(0, Math.max(0, places));
  }

  async #buildOne(item: BakeItem): Promise<BakeItem> {
    this.#waiting.delete(item);
    const scope = { signal: this.#gaveUp.signal, events: this.#events(item) };
    try {
      this.#results.set(item.name, await build(item.options, this.#engine, scope));
    } catch (error) {
      this.#fail(item, error);
    }
    return item;
  }

  /** Others break off because of the first failure, so theirs say nothing. */
  #fail({ name }: BakeItem, error: unknown): void {
    if (this.#failure !== undefined) return;
    const told = isMbuildError(error) && this.items.length > 1 ? inTarget(name, error) : error;
    this.#failure = { error: told };
    this.#gaveUp.abort(new MbuildError('CANCELED', `target ${name} failed`));
  }

  /** FROM finds what other targets have made. */
  #findBase(engine: Engine): NonNullable<Engine['findBase']> {
    return async (request, vertex, scope) => {
      const target = linkedTarget(request.name, this.#results.keys());
      const built = target === undefined ? undefined : this.#results.get(target);
      if (target === undefined || built === undefined)
        return engine.findBase?.(request, vertex, scope);
      return imageFor(built, formatPlatform(request.platform ?? hostPlatform()), {
        target,
        engine,
      });
    };
  }

  /**
   * Images that were built for other targets have no name: they go, and what they are made of stays
   * as cache.
   */
  #forgetLinked(): void {
    for (const { name, linked } of this.items) {
      if (!linked) continue;
      for (const { imageId } of this.#results.get(name)?.images ?? []) {
        const image = this.#engine.images.find(imageId);
        if (image?.names.length === 0 && image.repoDigests.length === 0)
          this.#engine.images.remove(imageId);
      }
    }
  }
}

function imageFor(
  built: BuildResult,
  platform: string,
  { target, engine }: { readonly target: string; readonly engine: Engine },
): Image {
  const made = built.images.find((candidate) => candidate.platform === platform) ?? built.images[0];
  const image = made === undefined ? undefined : engine.images.find(made.imageId);
  if (image !== undefined) return image;
  throw new MbuildError('IMAGE_NOT_FOUND', `the image of target "${target}" is no longer there`, {
    hint: 'something removed it while the targets were built: run it again',
  });
}

function inTarget(name: string, error: MbuildError): MbuildError {
  return new MbuildError(error.code, `target ${name}: ${error.message}`, {
    ...error,
    cause: error.cause,
  });
}

/**
 * Events of several builds as of one: vertices have numbers of their own, and names that begin with
 * the target's.
 */
function named(events: EventSink, several: boolean): (item: BakeItem) => EventSink {
  let last = 0;
  return ({ name }) => {
    const ids = new Map<VertexId, VertexId>();
    const idOf = (id: VertexId): VertexId => {
      const known = ids.get(id) ?? (last += 1);
      ids.set(id, known);
      return known;
    };
    return (event) => {
      const own: BuildEvent = 'id' in event ? { ...event, id: idOf(event.id) } : event;
      events(several && own.kind === 'vertex' ? { ...own, name: inName(name, own.name) } : own);
    };
  };
}

/** `[app build 2/4] RUN make`, `[app] exporting to image` */
function inName(target: string, name: string): string {
  return name.startsWith('[') ? `[${target} ${name.slice(1)}` : `[${target}] ${name}`;
}

import { MbuildError } from '../diagnostics/error';
import type { BuildResult } from '../pipeline/options';
import type { BuildEvent } from '../progress/events';
import {
  BUILD_FLAGS,
  IMAGES_FLAGS,
  LOAD_FLAGS,
  OPEN_FLAGS,
  PRUNE_FLAGS,
  RUN_FLAGS,
  SAVE_FLAGS,
  TRANSFER_FLAGS,
  flagsOf,
} from './flags';
import type {
  BuildOptions,
  Control,
  ImagesOptions,
  LoadOptions,
  OpenOptions,
  PruneOptions,
  PullOptions,
  RunOptions,
  SaveOptions,
  TransferOptions,
} from './options';
import type {
  Explanation,
  ImageSummary,
  Inspected,
  LoadedImage,
  Plan,
  Pruned,
  RunResult,
  Transferred,
} from './results';
import { Session } from './session';

/** One call, before it is sent. */
interface Request {
  readonly command: string;
  readonly flags?: readonly string[];
  readonly positionals?: readonly string[];
  readonly input?: Uint8Array | undefined;
}

/**
 * mbuild as a library: a store, and what can be done with it. Every method does what the command of
 * that name does, with its defaults, and rejects with an {@link MbuildError} as the command prints
 * it. Calls may run at the same time.
 *
 * @example
 * const mbuild = await Mbuild.open();
 * const { imageId } = await mbuild.build({ context: '.', tags: ['app'] });
 * await mbuild.close();
 */
export class Mbuild {
  readonly #globals: readonly string[];

  private constructor(
    private readonly session: Session,
    globals: readonly string[],
  ) {
    this.#globals = globals;
  }

  /**
   * Opens a store, which is made if it does not exist. The work is done by a process of its own, in
   * which ordinary users have what they have on the command line; {@link Mbuild.close} ends it.
   * @throws MbuildError STORE_UNUSABLE, USAGE.
   */
  static async open(options: OpenOptions = {}): Promise<Mbuild> {
    const globals = flagsOf(options, OPEN_FLAGS);
    const session = await Session.open({
      flags: globals,
      cwd: options.cwd ?? process.cwd(),
      env: options.env ?? process.env,
      onNote: options.onNote ?? (() => undefined),
    });
    return new Mbuild(session, globals);
  }

  /** Builds an image. */
  async build(options: BuildOptions = {}, control: Control = {}): Promise<BuildResult> {
    return this.#call<BuildResult>(buildRequest('build', options), control);
  }

  /** Tells what a build would take from the cache, run and pull. Nothing is run. */
  async plan(options: BuildOptions = {}, control: Control = {}): Promise<Plan> {
    return this.#call<Plan>(buildRequest('plan', options), control);
  }

  /**
   * Tells why steps of a build were not taken from the cache.
   * @param build an id, its beginning or end, or `~N` for the N-th before the latest; the latest
   * when absent.
   */
  explain(build = '~0', control: Control = {}): Promise<Explanation> {
    return this.#call<Explanation>({ command: 'explain', positionals: [build] }, control);
  }

  /** Lists images, the latest first. */
  images(options: ImagesOptions = {}, control: Control = {}): Promise<readonly ImageSummary[]> {
    const flags = flagsOf(options, IMAGES_FLAGS);
    return this.#call<readonly ImageSummary[]>({ command: 'images', flags }, control);
  }

  /** Shows an image or a container as `docker inspect` does. */
  async inspect(name: string, control: Control = {}): Promise<Inspected> {
    const request = { command: 'inspect', positionals: [name] };
    const [object] = await this.#call<readonly [Inspected]>(request, control);
    return object;
  }

  /** Downloads an image from a registry. */
  pull(
    name: string,
    options: PullOptions = {},
    control: Control = {},
  ): Promise<readonly Transferred[]> {
    const flags = flagsOf(options, TRANSFER_FLAGS);
    const request = { command: 'pull', flags, positionals: [name] };
    return this.#call<readonly Transferred[]>(request, control);
  }

  /** Uploads an image under its name. */
  push(
    name: string,
    options: TransferOptions = {},
    control: Control = {},
  ): Promise<readonly Transferred[]> {
    const flags = flagsOf(options, TRANSFER_FLAGS);
    const request = { command: 'push', flags, positionals: [name] };
    return this.#call<readonly Transferred[]>(request, control);
  }

  /** Writes images to an archive. */
  async save(names: readonly string[], options: SaveOptions, control: Control = {}): Promise<void> {
    const flags = flagsOf(options, SAVE_FLAGS);
    await this.#call<undefined>({ command: 'save', flags, positionals: names }, control);
  }

  /** Reads images from an archive or OCI layout: its path or its bytes. */
  load(
    archive: string | Uint8Array,
    options: LoadOptions = {},
    control: Control = {},
  ): Promise<readonly LoadedImage[]> {
    const flags = flagsOf(options, LOAD_FLAGS);
    const request =
      typeof archive === 'string'
        ? { command: 'load', flags: [...flags, `--input=${archive}`] }
        : { command: 'load', flags, input: archive };
    return this.#call<readonly LoadedImage[]>(request, control);
  }

  /**
   * Runs a command in a new container, which is removed afterwards. A command that fails is a
   * result, not an error.
   */
  async run(image: string, options: RunOptions = {}, control: Control = {}): Promise<RunResult> {
    const input = typeof options.input === 'string' ? Buffer.from(options.input) : options.input;
    const flags = [
      '--rm',
      ...(input === undefined ? [] : ['--interactive']),
      ...flagsOf(options, RUN_FLAGS),
    ];
    const kept = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    const onOutput = options.onOutput ?? ((stream, data) => void kept[stream].push(data));
    const onEvent = (event: BuildEvent): void => {
      if (event.kind === 'log') onOutput(event.stream, event.data);
      control.onEvent?.(event);
    };
    const positionals = [image, ...(options.command ?? [])];
    const request = { command: 'run', flags, positionals, input };
    const exitCode = await this.#call<number>(request, { ...control, onEvent });
    return { exitCode, stdout: Buffer.concat(kept.stdout), stderr: Buffer.concat(kept.stderr) };
  }

  /** Removes stopped containers, images without a name, and the build cache that no image needs. */
  prune(options: PruneOptions = {}, control: Control = {}): Promise<Pruned> {
    const flags = ['--force', ...flagsOf(options, PRUNE_FLAGS)];
    return this.#call<Pruned>({ command: 'prune', flags }, control);
  }

  /** Cancels what still runs and ends the store's process. */
  close(): Promise<void> {
    return this.session.close();
  }

  async #call<T>(request: Request, { signal, onEvent }: Control): Promise<T> {
    const { command, flags = [], positionals = [], input } = request;
    const argv = [command, ...this.#globals, ...flags, '--', ...positionals];
    const value = await this.session.call({
      argv,
      input,
      signal,
      onEvent: onEvent ?? (() => undefined),
    });
    return value as T;
  }
}

/** Opens a store, builds, and closes it: for programs that build once. */
export async function build(
  { store, ...options }: BuildOptions & { readonly store?: OpenOptions | undefined } = {},
  control: Control = {},
): Promise<BuildResult> {
  const mbuild = await Mbuild.open(store);
  try {
    return await mbuild.build(options, control);
  } finally {
    await mbuild.close();
  }
}

function buildRequest(
  command: 'build' | 'plan',
  { context = '.', dockerfile, ...options }: BuildOptions,
): Request {
  const flags = flagsOf(options, BUILD_FLAGS);
  const archive = typeof context === 'string' ? undefined : context;
  const positionals = [typeof context === 'string' ? context : '-'];
  if (typeof dockerfile === 'object') {
    if (archive !== undefined)
      throw new MbuildError('USAGE', 'the context and the Dockerfile are both given as bytes', {
        hint: 'put the Dockerfile into the archive',
      });
    const input = Buffer.from(dockerfile.text);
    return { command, flags: [...flags, '--file=-'], positionals, input };
  }
  const file = dockerfile === undefined ? [] : [`--file=${dockerfile}`];
  return { command, flags: [...flags, ...file], positionals, input: archive };
}

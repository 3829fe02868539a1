import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { homeDirectory } from '../linux/home';
import { parseDuration } from '../dockerfile/duration';
import type { KeptStep } from '../debug/kept-step';
import type { Engine, EngineOptions } from '../engine';
import type { Image } from '../images/store/image-store';
import type { CacheKey } from '../cache/key';
import { emptyAside } from '../content/aside';
import type { Collected, Roots } from '../images/collect/gc';
import type { Digest } from '../oci/digest';
import { hostPlatform, parsePlatform, type Platform } from '../oci/platform';
import { familiarName, formatReference, parseReference, referenceHint } from '../oci/reference';
import { ISOLATIONS, readIsolation, type IsolationName } from '../sandbox/isolations/isolations';
import { SNAPSHOTTERS } from '../snapshot/kinds/kinds';
import type { LayerId } from '../snapshot/snapshotter';
import { note, type Host } from './host';
import { readBytes } from './limit-options';

/** Bytes: smaller pieces would be more requests than bytes. */
const LEAST_PIECE = 64 << 10;

/** The global flags that say how a store is opened. */
export interface StoreFlags {
  readonly root: string | undefined;
  readonly authfile: string | undefined;
  readonly 'insecure-registry': readonly string[];
  readonly offline: boolean;
  readonly isolation: string | undefined;
  readonly runtime: string | undefined;
  readonly snapshotter: string | undefined;
  readonly 'signature-policy': string | undefined;
  readonly 'push-chunk-size'?: string | undefined;
  readonly retry?: number | undefined;
  readonly 'retry-delay'?: string | undefined;
}

/**
 * The store's directory: `--root` (or MBUILD_ROOT), else /var/lib/mbuild for root and the XDG data
 * directory for others.
 * @throws MbuildError USAGE for a user without a home.
 */
export function storeRoot(
  root: string | undefined,
  { env, uid }: Pick<Host, 'env' | 'uid'>,
): string {
  if (root !== undefined && root !== '') return root;
  if (uid === 0) return '/var/lib/mbuild';
  if (env['XDG_DATA_HOME']) return join(env['XDG_DATA_HOME'], 'mbuild');
  const home = homeDirectory(env);
  if (home !== undefined) return join(home, '.local/share/mbuild');
  throw new MbuildError('USAGE', 'the user has no home directory for the store', {
    hint: 'name a directory with --root or MBUILD_ROOT, or set HOME',
  });
}

/**
 * {@link storeRoot} for what looks into the directory without opening the store.
 * @throws MbuildError STORE_UNUSABLE for a store of a newer format.
 */
export async function knownStoreRoot(
  root: string | undefined,
  host: Pick<Host, 'env' | 'uid'>,
): Promise<string> {
  const directory = storeRoot(root, host);
  const { readGround } = await import('../snapshot/ground-file');
  readGround(directory);
  return directory;
}

/** Opens the store, lets a command use it, and closes it whatever happens. */
export async function withServices<T>(
  host: Host,
  flags: StoreFlags,
  use: (services: Engine) => T | Promise<T>,
): Promise<T> {
  const { openEngine } = await import('../engine');
  const services = await openEngine({
    ...engineOptions(host, flags),
    root: storeRoot(flags.root, host),
  });
  try {
    return await use(services);
  } finally {
    await services.close();
  }
}

/** How stores are opened, wherever they are. @throws MbuildError USAGE. */
export function engineOptions(host: Host, flags: StoreFlags): Omit<EngineOptions, 'root'> {
  return {
    isolation: readIsolationFlag(flags.isolation),
    runtime: flags.runtime,
    snapshotter: SNAPSHOTTERS.find(({ name }) => name === flags.snapshotter)?.name,
    registry: {
      ...host.registry,
      env: host.env,
      authFile: flags.authfile,
      insecure: flags['insecure-registry'],
      ...readPatience(flags),
      pieceSize: readPieceSize(flags['push-chunk-size']),
    },
    signaturePolicy: flags['signature-policy'],
    offline: flags.offline,
    onDamage: (from, to) =>
      note(host, `${from} is damaged: it was moved to ${to}, where it stays until the next prune`),
  };
}

/** `--push-chunk-size`. @throws MbuildError USAGE. */
function readPieceSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = readBytes('push-chunk-size', text);
  if (bytes >= LEAST_PIECE) return bytes;
  throw new MbuildError('USAGE', `--push-chunk-size ${text} is less than ${LEAST_PIECE} bytes`, {
    hint: 'use 4m or more for registries, or 1m if a proxy in front of one needs it',
  });
}

/** `--retry` and `--retry-delay`. @throws MbuildError USAGE. */
function readPatience({ retry, 'retry-delay': delay }: Pick<StoreFlags, 'retry' | 'retry-delay'>): {
  readonly attempts?: number;
  readonly pauseMs?: number;
} {
  const nanoseconds =
    delay === undefined ? undefined : parseDuration(/^\d+$/.test(delay) ? `${delay}s` : delay);
  if (delay !== undefined && (nanoseconds === undefined || nanoseconds < 0))
    throw new MbuildError('USAGE', `invalid time ${JSON.stringify(delay)} in --retry-delay`, {
      hint: 'write a number with a unit: 500ms, 2s, 1m',
    });
  return {
    ...(retry === undefined ? {} : { attempts: retry + 1 }),
    ...(nanoseconds === undefined ? {} : { pauseMs: nanoseconds / 1e6 }),
  };
}

/** The value of `--isolation`; `undefined` for auto. @throws MbuildError USAGE. */
export function readIsolationFlag(text = 'auto'): IsolationName | undefined {
  const { known, isolation } = readIsolation(text);
  if (known) return isolation;
  const names = ISOLATIONS.map(({ name }) => name);
  throw new MbuildError('USAGE', `unknown isolation ${JSON.stringify(text)}`, {
    hint: didYouMean(text, names) ?? `kinds are auto, ${names.join(', ')}`,
  });
}

/**
 * How long it is remembered that a result was evicted, and what files of a stage came to: a month.
 */
const NOTES_KEPT_MS = 30 * 24 * 3600 * 1000;

/**
 * Deletes layers and blobs that neither an image nor a container nor the build cache needs.
 * @param what with `aside`, also what was set aside as damaged.
 */
export async function collectGarbage(
  services: Engine,
  what?: 'aside' | undefined,
): Promise<Collected> {
  const [{ removeUnused }, { collectExplanations }, { forgetDownloads }, { lock }, { KeptSteps }] =
    await Promise.all([
      import('../images/collect/gc'),
      import('../history/collect'),
      import('../context/kept-sources'),
      import('../linux/flock'),
      import('../debug/kept-step'),
    ]);
  collectExplanations(services.root, services.cache);
  services.cache.forget(Date.now() - NOTES_KEPT_MS);
  services.images.forgetBroken();
  const kept = new KeptSteps(services.root);
  kept.remove(kept.surplus(Date.now()), services.snapshots);
  const roots = await garbageRoots(services);
  // Nothing has to be made for this turn, for the disk may be full.
  const turn = openSync(services.root, 'r');
  try {
    await lock(turn, 'exclusive');
    if (what === 'aside') emptyAside(services.root);
    const collected = removeUnused(services, roots);
    forgetDownloads(services.root, services.content);
    return collected;
  } finally {
    closeSync(turn);
  }
}

/** What is thought away: see {@link previewGarbage}. */
export interface Gone {
  readonly images?: ReadonlySet<Digest> | undefined;
  readonly cache?: ReadonlySet<CacheKey> | undefined;
  readonly containers?: ReadonlySet<string> | undefined;
  /** Steps that failed and are kept, by build and row. */
  readonly kept?: readonly KeptStep[] | undefined;
}

/**
 * What {@link collectGarbage} would delete if some images, cache records and containers were gone.
 */
export async function previewGarbage(services: Engine, gone: Gone): Promise<Collected> {
  const { findUnused } = await import('../images/collect/gc');
  return findUnused(
    { ...services, images: { needs: () => services.images.needs(gone.images) } },
    await garbageRoots(services, gone),
  );
}

/**
 * The layers of containers, of mounted images, of kept steps and of the build cache, as they are each time that
 * they are asked for.
 */
export async function garbageRoots(
  { root, cache, layers }: Engine,
  gone: Gone = {},
): Promise<Roots> {
  const [{ ContainerStore }, { imageMounts }, { KeptSteps, layersOfKept }] = await Promise.all([
    import('../containers/store'),
    import('../images/store/mounts'),
    import('../debug/kept-step'),
  ]);
  const containers = new ContainerStore(root);
  function* needed(): Generator<LayerId> {
    // What a container stands on whose record cannot be read is not known: nothing is given up
    // then.
    let unreadable = false;
    const list = containers.list(() => {
      unreadable = true;
    });
    if (unreadable) for (const { id } of layers.list()) yield id;
    for (const { record } of list)
      if (gone.containers?.has(record.id) !== true) yield* record.image.stack;
    for (const mount of imageMounts(root)) yield* mount.layers;
    for (const step of new KeptSteps(root).list())
      if (!isGone(step, gone)) yield* layersOfKept(step);
    for (const { key, layer } of cache.list()) {
      const id =
        layer === undefined || gone.cache?.has(key) === true
          ? undefined
          : layers.get(layer.chainId)?.id;
      if (id !== undefined) yield id;
    }
  }
  return { layers: { [Symbol.iterator]: needed } };
}

function isGone({ build, row }: KeptStep, { kept = [] }: Gone): boolean {
  return kept.some((step) => step.build === build && step.row === row);
}

/**
 * The image that a name, digest, id or the beginning of an id stands for; `undefined` when the
 * store has none.
 */
export function lookUp(services: Pick<Engine, 'images'>, text: string): Image | undefined {
  const reference = parseReference(text);
  return (
    (reference === undefined ? undefined : services.images.find(formatReference(reference))) ??
    services.images.find(text)
  );
}

/**
 * The same for an image that must be there.
 * @throws MbuildError IMAGE_NOT_FOUND, with a name that is nearly the same.
 */
export function findImage(services: Pick<Engine, 'images'>, text: string): Image {
  const image = lookUp(services, text);
  if (image !== undefined) return image;
  const names = services.images.list().flatMap(({ names: known }) => known.map(shortName));
  throw new MbuildError('IMAGE_NOT_FOUND', `no such image: ${text}`, {
    hint: didYouMean(text, names) ?? "list the images with 'mbuild images'",
  });
}

/** A full name that a user gave. @throws MbuildError REFERENCE_INVALID. */
export function fullName(text: string): string {
  const reference = parseReference(text);
  if (reference !== undefined) return formatReference(reference);
  throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`, {
    hint: referenceHint(text),
  });
}

/**
 * A name that is given to an image. Its digest is the registry's to say.
 * @throws MbuildError REFERENCE_INVALID.
 */
export function newName(text: string): string {
  const name = fullName(text);
  if (!name.includes('@')) return name;
  throw new MbuildError(
    'REFERENCE_INVALID',
    `refusing to give an image a name with a digest: ${JSON.stringify(text)}`,
    { hint: 'leave out the part from @ on' },
  );
}

/** The form that docker prints. */
export function shortName(name: string): string {
  const reference = parseReference(name);
  return reference === undefined ? name : familiarName(reference);
}

/** A platform as the command line has it; `local` is this machine's. @throws MbuildError USAGE. */
export function readPlatform(text: string): Platform {
  const platform = text === 'local' ? hostPlatform() : parsePlatform(text);
  if (platform === undefined)
    throw new MbuildError('USAGE', `invalid platform ${JSON.stringify(text)}`, {
      hint: 'write os/architecture[/variant], e.g. linux/arm64',
    });
  return platform;
}

/** The value of `--platform`, if it is given; see {@link readPlatform}. */
export function readPlatformFlag(text: string | undefined): Platform | undefined {
  return text === undefined ? undefined : readPlatform(text);
}

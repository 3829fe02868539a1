import { homedir } from 'node:os';
import { join } from 'node:path';
import type { BuildOptions, BuildResult } from '../build';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import type { Engine } from '../engine';
import type { Image } from '../images/image-store';
import type { ImageServices } from '../images/services';
import { parsePlatform, type Platform } from '../oci/platform';
import { familiarName, formatReference, parseReference } from '../oci/reference';
import type { BuildScope } from '../progress/events';
import type { Host } from './host';

/** The services of the store, as commands use them. */
export type Services = Engine & ImageServices;

/** What the wiring and the build offer; they are loaded with the first command that needs them. */
interface EngineModule {
  readonly openEngine?: (options: { readonly root: string }) => Engine | Promise<Engine>;
}
interface BuildModule {
  readonly build?: (options: BuildOptions, engine: Engine, scope: BuildScope) => Promise<BuildResult>;
}

/** The store's folder: `--root` (or MBUILD_ROOT), else /var/lib/mbuild for root and the XDG data folder for others. */
export function storeRoot(root: string | undefined, { env, uid }: Pick<Host, 'env' | 'uid'>): string {
  if (root !== undefined && root !== '') return root;
  if (uid === 0) return '/var/lib/mbuild';
  return join(env['XDG_DATA_HOME'] || join(env['HOME'] || homedir(), '.local/share'), 'mbuild');
}

/** Opens the store, lets a command use it, and closes it whatever happens. */
export async function withServices<T>(host: Host, root: string | undefined, use: (services: Services) => T | Promise<T>): Promise<T> {
  const { openEngine } = (await import('../engine')) as EngineModule;
  if (openEngine === undefined) throw new MbuildError('INTERNAL', 'this build of mbuild has no engine');
  const services = (await openEngine({ root: storeRoot(root, host) })) as Services;
  try {
    return await use(services);
  } finally {
    await services.close();
  }
}

/** Runs a build on opened services. */
export async function runBuild(options: BuildOptions, services: Services, scope: BuildScope): Promise<BuildResult> {
  const { build } = (await import('../build')) as BuildModule;
  if (build === undefined) throw new MbuildError('INTERNAL', 'this build of mbuild has no solver');
  return build(options, services, scope);
}

/** The image that a name, digest, id or the beginning of an id stands for; `undefined` when the store has none. */
export function lookUp(services: Pick<ImageServices, 'images'>, text: string): Image | undefined {
  const reference = parseReference(text);
  return (reference === undefined ? undefined : services.images.find(formatReference(reference))) ?? services.images.find(text);
}

/** The same for an image that must be there. @throws MbuildError IMAGE_NOT_FOUND, with a name that is nearly the same. */
export function findImage(services: Pick<ImageServices, 'images'>, text: string): Image {
  const image = lookUp(services, text);
  if (image !== undefined) return image;
  const names = services.images.list().flatMap(({ names: known }) => known.map(shortName));
  throw new MbuildError('IMAGE_NOT_FOUND', `no such image: ${text}`, { hint: didYouMean(text, names) ?? "'mbuild images' lists what is there" });
}

/** A full name that a user gave. @throws MbuildError REFERENCE_INVALID. */
export function fullName(text: string): string {
  const reference = parseReference(text);
  if (reference !== undefined) return formatReference(reference);
  throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`, {
    hint: 'a name is [registry/]repository[:tag], the repository in lower case',
  });
}

/** The form that docker prints. */
export function shortName(name: string): string {
  const reference = parseReference(name);
  return reference === undefined ? name : familiarName(reference);
}

/** The value of `--platform`. @throws MbuildError USAGE. */
export function readPlatformFlag(text: string | undefined): Platform | undefined {
  if (text === undefined) return undefined;
  const platform = parsePlatform(text);
  if (platform === undefined) throw new MbuildError('USAGE', `invalid platform ${JSON.stringify(text)}`, { hint: 'a platform is os/architecture[/variant], e.g. linux/arm64' });
  return platform;
}

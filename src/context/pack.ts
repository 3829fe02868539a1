import { pack, type PackOptions } from 'tar-fs';
import { MbuildError } from '../diagnostics/error';
import { toRaw, toText, type RawPath } from '../linux/paths';
import type { LocalContext } from './local';
import { selectSources } from './selection';

/**
 * What a build is given of its directory, as a tar that any builder takes for a context
 * (`docker build - < context.tar`): files, directories and symlinks, owned by root, in an order
 * that does not change. A hard link is a file of its own, a FIFO or device left out.
 * @param dockerfile path in the context; in the tar also where the ignore file excludes it, for
 * without it nothing can be built.
 * @throws MbuildError CONTEXT_INVALID for a name that is not UTF-8, which a tar of this kind cannot
 * hold.
 */
export function packContext(
  context: LocalContext,
  dockerfile: RawPath | undefined,
): AsyncIterable<Uint8Array> {
  const selected = selectSources(context, ['.']).sources.flatMap(({ entries }) =>
    entries.map(({ path }) => path),
  );
  const entries = [
    ...new Set([...selected, ...(dockerfile === undefined ? [] : withParents(dockerfile))]),
  ].map(asText);
  // What is in a directory is an entry of its own; without `umask`, that of this process is taken
  // off the modes.
  const options: PackOptions & { readonly umask: number } = {
    entries,
    ignore: () => true,
    strict: false,
    umask: 0,
    map: (header) => ({ ...header, uid: 0, gid: 0 }),
  };
  // A stream in all respects; its types leave out that it can be iterated.
  return pack(toText(context.path), options) as unknown as AsyncIterable<Uint8Array>;
}

/** `a/b/c` → `a`, `a/b`, `a/b/c`. */
function withParents(path: RawPath): RawPath[] {
  const parts = path.split('/');
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

function asText(path: RawPath): string {
  const text = toText(path);
  if (toRaw(text) === path) return text;
  throw new MbuildError(
    'CONTEXT_INVALID',
    `the name ${JSON.stringify(text)} is not UTF-8 and cannot be exported`,
    { hint: 'exclude it in .dockerignore, or rename it' },
  );
}

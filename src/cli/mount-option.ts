import type { TmpfsMount } from '../containers/container';
import type { VolumeRequest } from '../containers/volumes';
import { csvFields } from '../diagnostics/csv';
import {
  FLAG,
  NOT_EMPTY,
  TEXT,
  oneOf,
  readKeys,
  type KeyTable,
  type KeyValues,
} from '../diagnostics/structured-option';
import { readBytes } from './limit-options';
import { usage } from './usage';

/** What a `--mount` of a container asks for. */
export type ContainerMount =
  | { readonly kind: 'volume'; readonly request: VolumeRequest }
  | { readonly kind: 'tmpfs'; readonly mount: TmpfsMount };

const OTHER_DRIVER = { refused: 'needs a volume driver, and mbuild has none' };

/** The keys of docker's `--mount` (docker/cli, "docker run", "Add bind mounts, volumes or memory filesystems"). */
const KEYS = {
  type: oneOf(['bind', 'volume', 'tmpfs']),
  source: NOT_EMPTY,
  src: { alias: 'source' },
  target: NOT_EMPTY,
  dst: { alias: 'target' },
  destination: { alias: 'target' },
  readonly: FLAG,
  ro: { alias: 'readonly' },
  // Of Docker Desktop: every view here is the same one.
  consistency: oneOf(['consistent', 'cached', 'delegated', 'default']),
  'bind-propagation': oneOf(['private', 'rprivate']),
  'bind-nonrecursive': FLAG,
  'bind-recursive': oneOf(['enabled', 'disabled', 'writable', 'readonly']),
  'volume-nocopy': FLAG,
  'volume-label': TEXT,
  'volume-driver': oneOf(['local']),
  'volume-opt': OTHER_DRIVER,
  'volume-subpath': { refused: 'is not supported: mount the volume and use the path in it' },
  'tmpfs-size': NOT_EMPTY,
  'tmpfs-mode': NOT_EMPTY,
} as const satisfies KeyTable;

/** Reads one `--mount` of `run` and `create`. @throws MbuildError USAGE, UNSUPPORTED. */
export function readMount(text: string): ContainerMount {
  const values = readKeys({ title: '--mount', keys: KEYS }, csvFields(text));
  const { type = 'volume', target } = values;
  if (target?.startsWith('/') !== true || target === '/')
    throw usage(
      `invalid --mount ${JSON.stringify(text)}: it has no target`,
      'add target=PATH, an absolute path in the container',
    );
  if (type === 'tmpfs') return { kind: 'tmpfs', mount: tmpfs(text, target, values) };
  const { source, readonly = false } = values;
  if (type === 'bind' && source?.includes('/') !== true)
    throw usage(
      `invalid --mount ${JSON.stringify(text)}: a bind mount needs a path as its source`,
      'add source=PATH; for a volume write type=volume',
    );
  if (type === 'volume' && source?.includes('/') === true)
    throw usage(
      `invalid --mount ${JSON.stringify(text)}: a volume has a name, and ${source} is a path`,
      'write type=bind',
    );
  return {
    kind: 'volume',
    request: { source, target, readonly, mustExist: type === 'bind' },
  };
}

function tmpfs(text: string, target: string, values: KeyValues<typeof KEYS>): TmpfsMount {
  const { 'tmpfs-size': size, 'tmpfs-mode': mode, source } = values;
  if (source !== undefined)
    throw usage(`invalid --mount ${JSON.stringify(text)}: a tmpfs has no source`);
  if (mode !== undefined && !/^[0-7]{3,5}$/.test(mode))
    throw usage(`invalid --mount ${JSON.stringify(text)}: tmpfs-mode is octal, such as 1777`);
  return {
    target,
    size: size === undefined ? undefined : readBytes('mount', size),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
  };
}

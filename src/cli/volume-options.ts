import path from 'node:path';
import type { VolumeRequest } from '../containers/volumes';
import type { HostVolume } from '../graph/graph';
import { usage } from './usage';

/**
 * Options of `-v` that mean something, or nothing more than what is so anyway: labels of SELinux, and
 * Docker Desktop's words for how soon writes are seen.
 */
const VOLUME_OPTIONS = [
  'ro',
  'rw',
  'z',
  'Z',
  'rprivate',
  'private',
  'nocopy',
  'consistent',
  'cached',
  'delegated',
];

/** `[SOURCE:]TARGET[:OPTIONS]` of a container. @throws MbuildError USAGE. */
export function readVolume(text: string): VolumeRequest {
  const parts = text.split(':');
  const options = parts.length === 3 ? (parts[2] ?? '').split(',') : [];
  const [source, target] =
    parts.length === 1 ? [undefined, parts[0] ?? ''] : [parts[0], parts[1] ?? ''];
  const unknown = options.find((option) => !VOLUME_OPTIONS.includes(option));
  if (parts.length > 3 || source === '' || !target.startsWith('/') || unknown !== undefined) {
    throw usage(
      `invalid --volume ${JSON.stringify(text)}${unknown === undefined ? '' : `: unknown option ${unknown}`}`,
      'write [SOURCE:]TARGET[:ro], with TARGET an absolute path in the container',
    );
  }
  if (target === '/')
    throw usage(`invalid --volume ${JSON.stringify(text)}: the target cannot be the root`);
  return { ...(source === undefined ? {} : { source }), target, readonly: options.includes('ro') };
}

/**
 * `PATH:TARGET[:OPTIONS]`: like a container's, but volumes have no names here.
 * @throws MbuildError USAGE.
 */
export function readHostVolume(text: string): HostVolume {
  const { source, target, readonly } = readVolume(text);
  if (source === undefined || !source.includes('/'))
    throw usage(
      `invalid --volume ${JSON.stringify(text)}`,
      'give a path of this machine, e.g. ./cache:/cache; for a named cache use RUN --mount=type=cache',
    );
  return { source: path.resolve(source), target: path.posix.normalize(target), readonly };
}

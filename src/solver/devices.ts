import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import type { DeviceRequest } from '../dockerfile/device';
import { toRaw } from '../linux/paths';
import { DeviceRegistry, editsOf, splitName, type CdiDevice, type HostPath } from '../sandbox/cdi';
import type { Mount, MountPoint } from '../sandbox/sandbox';
import type { MergedView } from '../snapshot/view';
import { mountTarget } from './mount-target';
import type { StepServices } from './solver';

/** Which devices a build may give to its steps, and where they are described. */
export interface DeviceOptions {
  /** Of `--allow device=…`: names, `vendor/class`, or `*` for all. */
  readonly allowed: readonly string[];
  /** Folders of CDI specifications. */
  readonly folders: readonly string[];
}

/** What devices bring into a step. */
export interface PreparedDevices {
  readonly mounts: readonly Mount[];
  readonly mountPoints: readonly MountPoint[];
  readonly env: readonly string[];
  readonly gids: readonly number[];
}

/**
 * Finds the devices of a RUN on this machine. One that is not there, and not required, is warned of and left out.
 * @throws MbuildError DEVICE_NOT_FOUND, NOT_ALLOWED, DEVICE_SPEC, UNSUPPORTED.
 */
export async function prepareDevices(requests: readonly DeviceRequest[], view: MergedView, { options, warn }: Pick<StepServices, 'options' | 'warn'>): Promise<PreparedDevices> {
  if (requests.length === 0) return { mounts: [], mountPoints: [], env: [], gids: [] };
  const registry = await DeviceRegistry.read(options.devices.folders);
  const devices = requests.flatMap((request) => {
    const found = registry.find(request.name);
    const notThere = found.length === 0 ? notFound(request.name, registry) : undefined;
    if (notThere !== undefined && request.required) throw notThere;
    if (notThere !== undefined) warn({ severity: 'warning', code: 'DeviceNotFound', message: `${notThere.message}; RUN goes without it`, hint: notThere.hint });
    return found;
  });
  for (const device of devices) checkAllowed(device, options.devices.allowed);
  const edits = editsOf([...new Set(devices)]);
  const placed = [
    ...edits.nodes.map((node) => place(node, view, 'device')),
    ...edits.mounts.map((mount) => place(mount, view, 'bind', mount.readonly)),
  ];
  return { mounts: placed.map(({ mount }) => mount), mountPoints: placed.flatMap(({ missing }) => missing), env: edits.env, gids: edits.gids };
}

function notFound(name: string, registry: DeviceRegistry): MbuildError {
  const known = registry.names();
  const hint = didYouMean(name, known) ?? (known.length === 0 ? `no device is described in ${registry.folders.join(', ')}` : `known are ${known.join(', ')}`);
  return new MbuildError('DEVICE_NOT_FOUND', `there is no device ${name}`, { hint });
}

function checkAllowed({ name, kind, autoAllowed }: CdiDevice, allowed: readonly string[]): void {
  if (autoAllowed || allowed.some((entry) => entry === '*' || entry === name || entry === kind || (splitName(entry)[1] === '*' && splitName(entry)[0] === kind))) return;
  throw new MbuildError('NOT_ALLOWED', `the device ${name} is not allowed`, { hint: `grant it on the command line: --allow device=${name}` });
}

/** A path of the host at its place in the step's tree. /dev is the sandbox's own, and has nothing of the tree. */
function place({ hostPath, path: wanted }: HostPath, view: MergedView, kind: 'device' | 'bind', readonly = false): { readonly mount: Mount; readonly missing: readonly MountPoint[] } {
  if (!existsSync(hostPath)) throw new MbuildError('DEVICE_NOT_FOUND', `${hostPath}, which a device needs, is not there`, { hint: 'its specification may be older than the driver: make it anew' });
  const isDirectory = statSync(hostPath).isDirectory();
  const inDev = wanted.startsWith('/dev/');
  const { target, missing } = inDev ? { target: toRaw(wanted), missing: placesInDev(wanted, isDirectory) } : mountTarget(view, toRaw(wanted), isDirectory ? 'directory' : 'file');
  const mount: Mount = kind === 'device'
    ? { kind, source: toRaw(hostPath), target }
    : { kind, source: toRaw(path.dirname(hostPath)), subpath: toRaw(path.basename(hostPath)), target, readonly };
  return { mount, missing };
}

function placesInDev(wanted: string, isDirectory: boolean): MountPoint[] {
  const names = path.posix.normalize(wanted).split('/').slice(2);
  return names.map((_, i) => ({ path: toRaw(['/dev', ...names.slice(0, i + 1)].join('/')), kind: i < names.length - 1 || isDirectory ? 'directory' : 'file' }));
}

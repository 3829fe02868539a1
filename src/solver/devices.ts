import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import type { DeviceRequest } from '../dockerfile/device';
import { DeviceRegistry, editsOf, type CdiDevice } from '../sandbox/devices/cdi';
import type { MergedView } from '../snapshot/view';
import { placeHostPath, type HostMounts } from './host-paths';
import type { StepServices } from './services';

/** What devices bring into a step. */
export interface PreparedDevices extends HostMounts {
  readonly env: readonly string[];
  readonly gids: readonly number[];
}

/**
 * Finds the devices of a RUN on this machine. One that is not there, and not required, is warned of
 * and left out.
 * @throws MbuildError DEVICE_NOT_FOUND, NOT_ALLOWED, DEVICE_SPEC, UNSUPPORTED, HOST_PATH_NOT_FOUND.
 */
export async function prepareDevices(
  requests: readonly DeviceRequest[],
  view: MergedView,
  { options, warn }: Pick<StepServices, 'options' | 'warn'>,
): Promise<PreparedDevices> {
  if (requests.length === 0) return { mounts: [], mountPoints: [], env: [], gids: [] };
  const registry = await DeviceRegistry.read(options.devices.folders);
  const devices = requests.flatMap((request) => {
    const found = registry.find(request.name);
    const notThere = found.length === 0 ? notFound(request.name, registry) : undefined;
    if (notThere !== undefined && request.required) throw notThere;
    if (notThere !== undefined)
      warn({
        severity: 'warning',
        code: 'DeviceNotFound',
        message: `${notThere.message}; RUN continues without it`,
        hint: notThere.hint,
      });
    return found;
  });
  for (const device of devices) checkAllowed(device, options.devices.allowed);
  const edits = editsOf([...new Set(devices)]);
  const placed = [
    ...edits.nodes.map(({ hostPath, path }) =>
      placeHostPath({ source: hostPath, target: path, readonly: false, device: true }, view),
    ),
    ...edits.mounts.map(({ hostPath, path, readonly }) =>
      placeHostPath({ source: hostPath, target: path, readonly }, view),
    ),
  ];
  return {
    mounts: placed.flatMap(({ mounts }) => mounts),
    mountPoints: placed.flatMap(({ mountPoints }) => mountPoints),
    env: edits.env,
    gids: edits.gids,
  };
}

function notFound(name: string, registry: DeviceRegistry): MbuildError {
  const known = registry.names();
  const hint =
    didYouMean(name, known) ??
    (known.length === 0
      ? `found no device in ${registry.folders.join(', ')}`
      : `write one of ${known.join(', ')}`);
  return new MbuildError('DEVICE_NOT_FOUND', `the device ${name} does not exist`, { hint });
}

function checkAllowed({ name, kind, autoAllowed }: CdiDevice, allowed: readonly string[]): void {
  if (autoAllowed || ['*', name, kind, `${kind}=*`].some((entry) => allowed.includes(entry)))
    return;
  throw new MbuildError('NOT_ALLOWED', `the device ${name} is not allowed`, {
    hint: `allow it on the command line: --allow device=${name}`,
  });
}

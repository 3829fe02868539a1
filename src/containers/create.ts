import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import type { Image } from '../images/store/image-store';
import { Lease } from '../images/store/lease';
import { toRaw } from '../linux/paths';
import { splitEnv, withEnv } from '../oci/env';
import type { ContainerConfig } from '../oci/image';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { TreeWriter } from '../snapshot/tree-writer';
import type { ContainerId, ContainerRecord } from './container';
import { shortContainerId } from './container';
import type { ContainerServices } from './services';
import { newContainerId, type ContainerStore } from './store';
import { prepareVolumes, type VolumeRequest } from './volumes';

/** What the caller asks for; what is absent comes from the image. */
export interface CreateRequest extends Pick<
  ContainerRecord,
  | 'network'
  | 'ports'
  | 'extraHosts'
  | 'tmpfs'
  | 'capabilities'
  | 'readonlyRoot'
  | 'shmSize'
  | 'ulimits'
  | 'limits'
  | 'noNewPrivileges'
  | 'terminal'
  | 'autoRemove'
> {
  readonly image: Image;
  /** As the user wrote it. */
  readonly imageName: string;
  /** Words behind the image's name. */
  readonly command: readonly string[];
  /** Replace the entrypoint and the command of the image; `['']` takes both away. */
  readonly entrypoint?: readonly string[] | undefined;
  readonly name?: string | undefined;
  /** `NAME=value`, or `NAME` to take a variable of the image's away. */
  readonly env: readonly string[];
  readonly cwd?: string | undefined;
  readonly user?: string | undefined;
  readonly hostname?: string | undefined;
  readonly volumes: readonly VolumeRequest[];
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal?: string | undefined;
  readonly stopTimeout?: number | undefined;
}

const DEFAULT_STOP_SIGNAL = 'SIGTERM';
const DEFAULT_STOP_TIMEOUT = 10;

/**
 * Makes a container: a writable layer over the image's, its volumes, and what it is to run. The
 * layers are held by `lease` until the container itself does.
 * @throws MbuildError USAGE (nothing to run), CONTAINER_CONFLICT (the name is taken).
 */
export function createContainer(
  request: CreateRequest,
  store: ContainerStore,
  services: ContainerServices,
): ContainerRecord {
  const lease = new Lease(services.root);
  const id = newContainerId();
  const name = store.reserveName(id, request.name);
  let active: ActiveSnapshot | undefined;
  try {
    lease.hold({ layers: request.image.stack });
    const record = recordOf(request, id, name);
    active = services.snapshots.prepare(request.image.stack);
    makeWorkingDirectory(record, active, services);
    store.add({ ...record, volumes: prepareVolumes(request.volumes, record, services) }, active);
    return store.get(id).record;
  } catch (error) {
    store.releaseName(name);
    if (active !== undefined) services.snapshots.discard(active);
    throw error;
  } finally {
    lease.release();
  }
}

function recordOf(request: CreateRequest, id: ContainerId, name: string): ContainerRecord {
  const {
    image,
    network,
    ports,
    extraHosts,
    tmpfs,
    capabilities,
    readonlyRoot,
    shmSize,
    ulimits,
    limits,
    noNewPrivileges,
    terminal,
    autoRemove,
  } = request;
  const config = configOf(request, image.config.config ?? {});
  const args = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (args.length === 0) {
    throw new MbuildError(
      'USAGE',
      `no command specified: ${request.imageName} has neither ENTRYPOINT nor CMD`,
      { hint: 'write the command after the name of the image' },
    );
  }
  return {
    id,
    name,
    created: new Date().toISOString(),
    image: { id: image.id, name: request.imageName, config: image.config, stack: image.stack },
    config,
    args,
    env: config.Env ?? [],
    cwd: config.WorkingDir ?? '/',
    user: config.User ?? '',
    hostname: request.hostname ?? shortContainerId(id),
    network,
    ports,
    extraHosts,
    volumes: [],
    tmpfs,
    capabilities,
    readonlyRoot,
    shmSize,
    ulimits,
    limits,
    noNewPrivileges,
    terminal,
    labels: config.Labels ?? {},
    stopSignal: config.StopSignal ?? DEFAULT_STOP_SIGNAL,
    stopTimeout: config.StopTimeout ?? DEFAULT_STOP_TIMEOUT,
    autoRemove,
  };
}

/**
 * Docker's rules: words on the command line replace CMD; an entrypoint on the command line replaces
 * both.
 */
function configOf(request: CreateRequest, ofImage: ContainerConfig): ContainerConfig {
  const { entrypoint } = request;
  return {
    ...ofImage,
    Entrypoint: (entrypoint ?? ofImage.Entrypoint)?.filter((word, i) => i > 0 || word !== ''),
    Cmd: commandOf(request, ofImage),
    Env: envOf(ofImage.Env ?? [], request.env),
    WorkingDir: path.posix.resolve('/', ofImage.WorkingDir ?? '/', request.cwd ?? ''),
    ...(request.user === undefined ? {} : { User: request.user }),
    ...(Object.keys(request.labels).length === 0
      ? {}
      : { Labels: { ...ofImage.Labels, ...request.labels } }),
    ...(request.stopSignal === undefined ? {} : { StopSignal: request.stopSignal }),
    ...(request.stopTimeout === undefined ? {} : { StopTimeout: request.stopTimeout }),
    ...(request.ports.length === 0
      ? {}
      : {
          ExposedPorts: {
            ...ofImage.ExposedPorts,
            ...Object.fromEntries(
              request.ports.map(({ containerPort, protocol }) => [
                `${containerPort}/${protocol}`,
                {},
              ]),
            ),
          },
        }),
  };
}

function commandOf(
  { command, entrypoint }: CreateRequest,
  ofImage: ContainerConfig,
): ContainerConfig['Cmd'] {
  if (command.length > 0) return command;
  return entrypoint === undefined ? ofImage.Cmd : undefined;
}

function envOf(ofImage: readonly string[], given: readonly string[]): string[] {
  return given.reduce<string[]>(
    (env, entry) => {
      const [name, value] = splitEnv(entry);
      return entry.includes('=')
        ? withEnv(env, name, value)
        : env.filter((item) => splitEnv(item)[0] !== name);
    },
    [...ofImage],
  );
}

/** WORKDIR of a foreign builder, and `-w`, may name what is not there. */
function makeWorkingDirectory(
  { cwd, image }: ContainerRecord,
  active: ActiveSnapshot,
  services: ContainerServices,
): void {
  const view = services.snapshots.view(image.stack);
  if (view.stat(toRaw(cwd)) !== undefined) return;
  const writer = new TreeWriter(view, toRaw(active.dir), { xattrs: services.xattrs });
  writer.mkdirAll(toRaw(cwd), { mode: 0o755, uid: 0, gid: 0 });
  writer.finish();
}

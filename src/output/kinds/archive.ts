import { MbuildError } from '../../diagnostics/error';
import { FLAG, TEXT, type KeyTable } from '../../diagnostics/structured-option';
import type { Destination } from '../destination';
import { IMAGE_KEYS, formOf, namesOf } from './image-keys';
import { defineOutput, ELSEWHERE, type ImageForm } from './kind';

/** `type=oci`: an image layout, as a tar or a directory. */
export interface OciLayoutOutput extends ImageForm {
  readonly type: 'oci';
  /** A path, or `-` for standard output. */
  readonly dest: string;
  readonly tar: boolean;
  readonly names?: readonly string[] | undefined;
}

/**
 * `type=docker`: what `docker load` reads. Without `dest` it goes into docker or podman, where one
 * runs.
 */
export interface DockerOutput extends ImageForm {
  readonly type: 'docker';
  readonly dest?: string | undefined;
  readonly names?: readonly string[] | undefined;
}

const ARCHIVE_KEYS = { ...IMAGE_KEYS, dest: TEXT, tar: FLAG } as const satisfies KeyTable;
const DOCKER_KEYS = {
  ...ARCHIVE_KEYS,
  context: {
    refused: 'is not supported',
    hint: 'set DOCKER_HOST to choose the engine that loads the images',
  },
} as const satisfies KeyTable;

export const oci = defineOutput<OciLayoutOutput, typeof ARCHIVE_KEYS>({
  type: 'oci',
  keys: ARCHIVE_KEYS,
  read: (values, context) => {
    const { dest = '-', tar = true, name } = values;
    if (!tar && dest === '-')
      throw new MbuildError('USAGE', '--output type=oci,tar=false needs dest=DIRECTORY');
    return {
      type: 'oci',
      dest,
      tar,
      names: name === undefined ? undefined : namesOf(name, context),
      ...formOf(values, context),
    };
  },
  traits: ({ dest, tar, ...form }) => ({
    result: 'image',
    ...ELSEWHERE,
    takesBlobs: takesBlobs(dest, form),
    indexes: true,
    layers: 'gzip',
    title: 'exporting to oci image format',
    toStdout: tar && dest === '-',
  }),
  export: async (spec, images, setting) => {
    const { ociExporter } = await import('../oci');
    const { dest, tar, compression, mediaTypes, attestationArtifact } = spec;
    const { services, vertex, scope, annotations } = setting;
    const destination = tar ? destinationOf(dest) : { folder: dest };
    const output = { destination, compression, mediaTypes, annotations, attestationArtifact };
    return ociExporter(output, services).export(images, vertex, scope);
  },
});

export const docker = defineOutput<DockerOutput, typeof DOCKER_KEYS>({
  type: 'docker',
  keys: DOCKER_KEYS,
  read: (values, context) => {
    const { dest, tar, name } = values;
    if (tar === false)
      throw new MbuildError('USAGE', '--output type=docker is always a tar', {
        hint: 'type=oci,tar=false,dest=DIRECTORY writes a directory',
      });
    return {
      type: 'docker',
      dest: dest ?? (tar === true ? '-' : undefined),
      names: name === undefined && dest !== undefined ? undefined : namesOf(name, context),
      ...formOf(values, context),
    };
  },
  traits: ({ dest, ...form }) => ({
    result: 'image',
    // What goes into docker is kept here too, as it is where docker builds.
    inStore: dest === undefined,
    isNamed: dest === undefined,
    isCanonical: false,
    takesBlobs: dest !== undefined && takesBlobs(dest, form),
    indexes: false,
    layers: 'none',
    title:
      dest === undefined ? 'loading into the container engine' : 'exporting to docker image format',
    toStdout: dest === '-',
  }),
  export: async ({ dest, compression, mediaTypes }, images, setting) => {
    const { services, vertex, scope, annotations } = setting;
    const form = { compression, mediaTypes, annotations };
    if (dest !== undefined) {
      const { dockerExporter } = await import('../docker');
      const destination = destinationOf(dest);
      return dockerExporter({ destination, ...form }, services).export(images, vertex, scope);
    }
    const [{ findDaemon }, { answers, daemonExporter }] = await Promise.all([
      import('../find-daemon'),
      import('../daemon'),
    ]);
    const daemon = findDaemon(process.env);
    const isSilent =
      daemon?.kind === 'api' && daemon.guessed === true && !(await answers(daemon.address));
    if (daemon === undefined || isSilent) {
      const who = isSilent
        ? `nobody answers at ${daemon.address}`
        : 'neither docker nor podman is here';
      scope.events({ kind: 'note', id: vertex, text: `${who}: the image is in the store alone` });
      return undefined;
    }
    await daemonExporter(daemon, services, form).export(images, vertex, scope);
    return undefined;
  },
});

/**
 * Whether layers can be taken from elsewhere on the way: a stream can't begin anew when one turns
 * out to be missing there.
 */
function takesBlobs(dest: string, { compression }: ImageForm): boolean {
  return compression === undefined && dest !== '-';
}

/** A file, or standard output for `-`. */
export function destinationOf(dest: string): Destination {
  return dest === '-' ? { stream: process.stdout } : { path: dest };
}

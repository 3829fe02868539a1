import path from 'node:path';
import type { BuildRun } from './build-run';
import type { BuildOptions, OutputSpec } from './options';
import type { Engine } from '../engine';
import type { Image } from '../images/store/image-store';
import type { Descriptor } from '../oci/image';
import { formatReference, parseReference } from '../oci/reference';
import type { Exported, Exporter, Outgoing } from '../output/exporter';
import { toRaw } from '../linux/paths';
import { withRow, type BuildScope, type VertexId } from '../progress/events';

/** Whether the image is to have its names in the store: without `--output`, and with `type=image`. */
export function wantsStore(options: BuildOptions): boolean {
  return (
    (options.outputs ?? []).length === 0 ||
    options.outputs?.some((output) => output.type === 'image') === true
  );
}

/** Whether the result is an image at all, and not only its files. */
export function wantsImage({ outputs = [] }: BuildOptions): boolean {
  return outputs.length === 0 || outputs.some(({ type }) => type !== 'tar' && type !== 'local');
}

/** Whether all that is asked for is that registries have the image, as it is compressed already. */
export function isOnlyPushed({ outputs = [] }: BuildOptions): boolean {
  return (
    outputs.length > 0 &&
    outputs.every(
      (output) =>
        output.type === 'image' && output.onlyPush === true && output.compression === undefined,
    )
  );
}

/** Whether layers that are made will leave as gzip of no given level. */
export function leavesAsGzip({ outputs = [] }: BuildOptions): boolean {
  return outputs.some((output) => {
    if (
      output.type !== 'oci' &&
      output.type !== 'docker' &&
      !(output.type === 'image' && output.push)
    )
      return false;
    const { type, level } = output.compression ?? {
      type: output.type === 'docker' ? 'none' : 'gzip',
    };
    return type === 'gzip' && level === undefined;
  });
}

/** An image that was made, and what it is among those of its build. */
export interface MadeImage {
  readonly image: Image;
  /** Layers that the store lacks. Then the image is not in the store either. */
  readonly elsewhere?: Outgoing['elsewhere'];
  readonly names: readonly string[];
  readonly target: string | undefined;
  readonly platform: string;
  /** Images of one target for several platforms have the same number. */
  readonly group: number | undefined;
}

/** Takes the images to each place that was asked for; returns the manifests as they left, or the store's: the index where there is one. */
export async function exportImages(
  made: readonly MadeImage[],
  run: BuildRun,
): Promise<readonly Descriptor[]> {
  const { options, engine, newVertex, scope } = run;
  let descriptors = made.map(({ image }) => image.descriptor);
  for (const output of options.outputs ?? []) {
    const outgoing = made.map((one): Outgoing => ({
      image: one.image,
      elsewhere: one.elsewhere,
      names: namesFor(one, output, options),
      group: one.group,
    }));
    if (output.type === 'image') nameInStore(made, outgoing, engine);
    if (output.type === 'image' && !output.push) continue;
    const exported = await withRow(titleOf(output), newVertex(), scope, async (id) => {
      if (output.type === 'local' && made.length > 1)
        return exportFolders(output.dest, made, run, id);
      if (output.type === 'tar' && made.length > 1)
        return exportFoldersTar(output.dest, made, engine, scope);
      return (
        await exporterOf(output, engine, (text) => scope.events({ kind: 'note', id, text }))
      )?.export(outgoing, id, scope);
    });
    if (output.type === 'daemon' || exported === undefined) continue;
    const groups = [...new Set(made.flatMap(({ group }) => group ?? []))];
    descriptors = descriptors.map((descriptor, i) => {
      const group = made[i]?.group;
      return (
        (group === undefined ? undefined : exported.indexes?.[groups.indexOf(group)]) ??
        exported.descriptors[i] ??
        descriptor
      );
    });
    if (output.type === 'image')
      outgoing.forEach(({ image, names }, i) =>
        names.forEach((name) =>
          engine.images.addDigest(image.id, name, (descriptors[i] ?? image.descriptor).digest),
        ),
      );
  }
  for (const { image } of made)
    if (!wantsStore(options) && image.names.length === 0) engine.images.remove(image.id);
  return descriptors;
}

/** An output's own names stand for those of the build, unless several targets have one each. */
function namesFor(
  { names }: MadeImage,
  output: OutputSpec,
  options: BuildOptions,
): readonly string[] {
  return 'names' in output && output.names.length > 0 && (options.targets ?? []).length < 2
    ? output.names.map(fullName)
    : names;
}

function nameInStore(
  made: readonly MadeImage[],
  outgoing: readonly Outgoing[],
  engine: Engine,
): void {
  outgoing.forEach(({ image, names, group, elsewhere }, i) => {
    if (elsewhere !== undefined) return;
    const further = names.filter((name) => made[i]?.names.includes(name) !== true);
    // Naming one image anew takes the name from those of other platforms.
    if (group === undefined) for (const name of further) engine.images.tag(image.id, name);
    else engine.images.put(image, further);
  });
}

/** The folder of an image's files where there are several images, named as BuildKit names those of platforms. */
function folderOf({ target, platform, group }: MadeImage, made: readonly MadeImage[]): string {
  const isForTargets = new Set(made.map((one) => one.target)).size > 1;
  return [
    ...(isForTargets && target !== undefined ? [target] : []),
    ...(group === undefined ? [] : [platform.replaceAll('/', '_')]),
  ].join('/');
}

async function exportFolders(
  dest: string,
  made: readonly MadeImage[],
  { engine, scope }: BuildRun,
  id: VertexId,
): Promise<Exported> {
  const { localExporter } = await import('../output/local');
  for (const one of made)
    await localExporter(path.join(dest, folderOf(one, made)), engine).export(
      [{ image: one.image, names: one.names }],
      id,
      scope,
    );
  return { descriptors: [] };
}

async function exportFoldersTar(
  dest: string,
  made: readonly MadeImage[],
  engine: Engine,
  scope: BuildScope,
): Promise<Exported> {
  const [{ foldersTar }, { writeTo }] = await Promise.all([
    import('../output/tar'),
    import('../output/destination'),
  ]);
  const trees = made.map((one) => ({
    folder: toRaw(folderOf(one, made)),
    view: engine.snapshots.view(one.image.stack),
  }));
  await writeTo(destinationOf(dest), foldersTar(trees), scope.signal);
  return { descriptors: [] };
}

function titleOf(output: OutputSpec): string {
  switch (output.type) {
    case 'image':
      return 'pushing the image';
    case 'oci':
      return 'exporting to oci image format';
    case 'docker':
      return 'exporting to docker image format';
    case 'daemon':
      return 'loading into the container engine';
    case 'tar':
      return 'sending tarball';
    case 'local':
      return 'copying files';
  }
}

function fullName(text: string): string {
  const ref = parseReference(text);
  return ref === undefined ? text : formatReference(ref);
}

/** Loads an exporter when it is asked for: most builds end in the store. `undefined` when there is nobody to hand the image to. */
async function exporterOf(
  output: OutputSpec,
  engine: Engine,
  note: (text: string) => void,
): Promise<Exporter | undefined> {
  switch (output.type) {
    case 'oci':
      return (await import('../output/oci')).ociExporter(
        {
          destination: output.tar ? destinationOf(output.dest) : { folder: output.dest },
          compression: output.compression,
        },
        engine,
      );
    case 'docker':
      return (await import('../output/docker')).dockerExporter(
        { destination: destinationOf(output.dest), compression: output.compression },
        engine,
      );
    case 'tar':
      return (await import('../output/tar')).tarExporter(destinationOf(output.dest), engine);
    case 'local':
      return (await import('../output/local')).localExporter(output.dest, engine);
    case 'image': {
      const [{ pushExporter }, { mountSources }] = await Promise.all([
        import('../output/push'),
        import('../images/transfer/mount-sources'),
      ]);
      return pushExporter(
        { mountFrom: mountSources(engine), compression: output.compression },
        engine,
        engine.registry,
      );
    }
    case 'daemon': {
      const [{ findDaemon }, { daemonExporter }] = await Promise.all([
        import('../output/find-daemon'),
        import('../output/daemon'),
      ]);
      const daemon = findDaemon(process.env);
      if (daemon === undefined)
        note('neither docker nor podman is here: the image is in the store alone');
      return daemon === undefined ? undefined : daemonExporter(daemon, engine);
    }
  }
}

function destinationOf(
  dest: string,
): { readonly path: string } | { readonly stream: NodeJS.WritableStream } {
  return dest === '-' ? { stream: process.stdout } : { path: dest };
}

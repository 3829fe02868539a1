import type { BuildOptions, OutputSpec } from './options';
import type { Engine } from '../engine';
import type { Image } from '../images/image-store';
import type { Descriptor } from '../oci/image';
import { formatReference, parseReference } from '../oci/reference';
import type { Exporter } from '../output/exporter';
import { withRow, type BuildScope, type VertexId } from '../progress/events';

/** Whether the image is to have its names in the store: without `--output`, and with `type=image`. */
export function wantsStore(options: BuildOptions): boolean {
  return (options.outputs ?? []).length === 0 || options.outputs?.some((output) => output.type === 'image') === true;
}

/** Whether the result is an image at all, and not only its files. */
export function wantsImage({ outputs = [] }: BuildOptions): boolean {
  return outputs.length === 0 || outputs.some(({ type }) => type !== 'tar' && type !== 'local');
}

/** Takes the image to each place that was asked for; returns the manifest as it left, or the store's. */
export async function exportImage(image: Image, names: readonly string[], options: BuildOptions, engine: Engine, newVertex: () => VertexId, scope: BuildScope): Promise<Descriptor> {
  let descriptor = image.descriptor;
  for (const output of options.outputs ?? []) {
    const own = 'names' in output && output.names.length > 0 ? output.names.map(fullName) : names;
    if (output.type === 'image') for (const name of own) if (!names.includes(name)) engine.images.tag(image.id, name);
    if (output.type === 'image' && !output.push) continue;
    const exported = await withRow(titleOf(output), newVertex(), scope, async (id) => (await exporterOf(output, engine, (text) => scope.events({ kind: 'note', id, text })))?.export([{ image, names: own }], id, scope));
    if (output.type === 'daemon') continue;
    descriptor = exported?.descriptors[0] ?? descriptor;
    if (output.type === 'image') for (const name of own) engine.images.addDigest(image.id, name, descriptor.digest);
  }
  if (!wantsStore(options) && image.names.length === 0) engine.images.remove(image.id);
  return descriptor;
}

function titleOf(output: OutputSpec): string {
  switch (output.type) {
    case 'image': return 'pushing the image';
    case 'oci': return 'exporting to oci image format';
    case 'docker': return 'exporting to docker image format';
    case 'daemon': return 'loading into the container engine';
    case 'tar': return 'sending tarball';
    case 'local': return 'copying files';
  }
}

function fullName(text: string): string {
  const ref = parseReference(text);
  return ref === undefined ? text : formatReference(ref);
}

/** Loads an exporter when it is asked for: most builds end in the store. `undefined` when there is nobody to hand the image to. */
async function exporterOf(output: OutputSpec, engine: Engine, note: (text: string) => void): Promise<Exporter | undefined> {
  switch (output.type) {
    case 'oci': return (await import('../output/oci')).ociExporter({ destination: output.tar ? destinationOf(output.dest) : { folder: output.dest }, compression: output.compression }, engine);
    case 'docker': return (await import('../output/docker')).dockerExporter({ destination: destinationOf(output.dest), compression: output.compression }, engine);
    case 'tar': return (await import('../output/tar')).tarExporter(destinationOf(output.dest), engine);
    case 'local': return (await import('../output/local')).localExporter(output.dest, engine);
    case 'image': {
      const [{ pushExporter }, { mountSources }] = await Promise.all([import('../output/push'), import('../images/mount-sources')]);
      return pushExporter({ mountFrom: mountSources(engine) }, engine, engine.registry);
    }
    case 'daemon': {
      const [{ findDaemon }, { daemonExporter }] = await Promise.all([import('../output/find-daemon'), import('../output/daemon')]);
      const daemon = findDaemon(process.env);
      if (daemon === undefined) note('neither docker nor podman is here: the image is in the store alone');
      return daemon === undefined ? undefined : daemonExporter(daemon, engine);
    }
  }
}

function destinationOf(dest: string): { readonly path: string } | { readonly stream: NodeJS.WritableStream } {
  return dest === '-' ? { stream: process.stdout } : { path: dest };
}

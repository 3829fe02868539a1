import type { BuildOptions, OutputSpec } from './options';
import type { Engine } from '../engine';
import type { Image } from '../images/image-store';
import type { Descriptor } from '../oci/image';
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
    if (output.type === 'image' && !output.push) continue;
    const exported = await withRow(titleOf(output), newVertex(), scope, async (id) => (await exporterOf(output, engine)).export([{ image, names }], id, scope));
    descriptor = exported.descriptors[0] ?? descriptor;
  }
  if (!wantsStore(options) && image.names.length === 0) engine.images.remove(image.id);
  return descriptor;
}

function titleOf(output: OutputSpec): string {
  switch (output.type) {
    case 'image': return 'pushing the image';
    case 'oci': return 'exporting to oci image format';
    case 'docker': return 'exporting to docker image format';
    case 'tar': return 'sending tarball';
    case 'local': return 'copying files';
  }
}

/** Loads an exporter when it is asked for: most builds end in the store. */
async function exporterOf(output: OutputSpec, engine: Engine): Promise<Exporter> {
  switch (output.type) {
    case 'oci': return (await import('../output/oci')).ociExporter({ destination: output.tar ? destinationOf(output.dest) : { folder: output.dest }, compression: output.compression }, engine);
    case 'docker': return (await import('../output/docker')).dockerExporter({ destination: destinationOf(output.dest), compression: output.compression }, engine);
    case 'tar': return (await import('../output/tar')).tarExporter(destinationOf(output.dest), engine);
    case 'local': return (await import('../output/local')).localExporter(output.dest, engine);
    case 'image': return (await import('../output/push')).pushExporter({}, engine, engine.registry);
  }
}

function destinationOf(dest: string): { readonly path: string } | { readonly stream: NodeJS.WritableStream } {
  return dest === '-' ? { stream: process.stdout } : { path: dest };
}

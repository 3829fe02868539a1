import type { BuildOptions, OutputSpec } from './options';
import type { Engine } from '../engine';
import type { Image } from '../images/image-store';
import type { Descriptor } from '../oci/image';
import { dockerExporter } from '../output/docker';
import type { Exporter } from '../output/exporter';
import { localExporter } from '../output/local';
import { ociExporter } from '../output/oci';
import { pushExporter } from '../output/push';
import { tarExporter } from '../output/tar';
import { withRow, type BuildScope, type VertexId } from '../progress/events';

/** Whether the image is to have its names in the store: without `--output`, and with `type=image`. */
export function wantsStore(options: BuildOptions): boolean {
  return (options.outputs ?? []).length === 0 || options.outputs?.some((output) => output.type === 'image') === true;
}

/** Takes the image to each place that was asked for; returns the manifest as it left, or the store's. */
export async function exportImage(image: Image, names: readonly string[], options: BuildOptions, engine: Engine, newVertex: () => VertexId, scope: BuildScope): Promise<Descriptor> {
  let descriptor = image.descriptor;
  for (const output of options.outputs ?? []) {
    if (output.type === 'image' && !output.push) continue;
    const exported = await withRow(titleOf(output), newVertex(), scope, (id) => exporterOf(output, engine).export([{ image, names }], id, scope));
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

function exporterOf(output: OutputSpec, engine: Engine): Exporter {
  switch (output.type) {
    case 'oci': return ociExporter({ destination: output.tar ? destinationOf(output.dest) : { folder: output.dest }, compression: output.compression }, engine);
    case 'docker': return dockerExporter({ destination: destinationOf(output.dest), compression: output.compression }, engine);
    case 'tar': return tarExporter(destinationOf(output.dest), engine);
    case 'local': return localExporter(output.dest, engine);
    case 'image': return pushExporter({}, engine, engine.registry);
  }
}

function destinationOf(dest: string): { readonly path: string } | { readonly stream: NodeJS.WritableStream } {
  return dest === '-' ? { stream: process.stdout } : { path: dest };
}

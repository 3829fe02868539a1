import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadImages } from '../../src/images/transfer/load';
import type { Digest } from '../../src/oci/digest';
import type { Manifest } from '../../src/oci/image';
import { formatReference, parseReference } from '../../src/oci/reference';
import { dockerExporter } from '../../src/output/docker';
import { ociExporter } from '../../src/output/oci';
import { pushExporter } from '../../src/output/push';
import { exporterContract, type ExportPlace } from '../contract/exporter';
import { openStore, scopeOf } from '../images/store';
import { MemoryRegistry } from '../support/memory-registry';
import { describeWith } from '../support/needs';

describeWith('exporters', { root: true }, () => {
  exporterContract('an OCI layout', (store) =>
    inDirectory((dir) => [
      ociExporter({ destination: { folder: join(dir, 'layout') } }, store),
      join(dir, 'layout'),
    ]),
  );
  exporterContract('an OCI archive', (store) =>
    inDirectory((dir) => [
      ociExporter({ destination: { path: join(dir, 'image.tar') } }, store),
      join(dir, 'image.tar'),
    ]),
  );
  exporterContract('a docker archive', (store) =>
    inDirectory((dir) => [
      dockerExporter({ destination: { path: join(dir, 'image.tar') } }, store),
      join(dir, 'image.tar'),
    ]),
  );
  exporterContract('a registry', (store) => {
    const registry = new MemoryRegistry();
    return {
      exporter: pushExporter({}, store, registry),
      imageAt: async (name) => {
        const ref = parseReference(name);
        if (ref === undefined || (await registry.resolve(ref)) === undefined) return undefined;
        const { bytes } = await registry.manifest(ref, new AbortController().signal);
        return (JSON.parse(bytes.toString()) as Manifest).config.digest;
      },
      dispose: () => undefined,
    };
  });
});

/** An exporter to a file or directory, which `load` reads. */
function inDirectory(
  make: (dir: string) => readonly [ExportPlace['exporter'], string],
): ExportPlace {
  const dir = mkdtempSync(join(tmpdir(), 'mb-export-'));
  const [exporter, file] = make(dir);
  return {
    exporter,
    imageAt: (name) => loadedId(file, name),
    dispose: () => rmSync(dir, { recursive: true }),
  };
}

/** Loads an archive or layout into a store of its own, which checks all of its digests. */
async function loadedId(file: string, name: string): Promise<Digest | undefined> {
  const ref = parseReference(name);
  if (!existsSync(file) || ref === undefined) return undefined;
  const other = openStore();
  try {
    await loadImages({ path: file }, undefined, { services: other, vertex: 1, scope: scopeOf() });
    return other.images.find(formatReference(ref))?.id;
  } finally {
    other.dispose();
  }
}

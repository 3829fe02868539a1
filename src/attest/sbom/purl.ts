import { PackageURL } from 'packageurl-js';
import type { Package } from './package';
import type { Distribution } from './sbom';

/** The package URL of a package (purl specification): `pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-12`. */
export function purlOf(found: Package, distribution: Distribution | undefined): string {
  const isSystem = found.type === 'deb' || found.type === 'apk' || found.type === 'rpm';
  const distro =
    distribution === undefined
      ? undefined
      : [distribution.id, distribution.version].filter(Boolean).join('-');
  const namespace = isSystem ? distribution?.id : found.namespace;
  const qualifiers = isSystem
    ? { arch: found.architecture, epoch: found.epoch, distro, upstream: upstreamOf(found) }
    : {};
  const given = Object.entries(qualifiers).filter(([, value]) => value !== undefined);
  return new PackageURL(
    found.type,
    namespace,
    found.name,
    found.version,
    Object.fromEntries(given) as Record<string, string>,
    undefined,
  ).toString();
}

/** The source package, as other tools write it. */
function upstreamOf({ source }: Package): string | undefined {
  if (source === undefined) return undefined;
  return source.version === undefined ? source.name : `${source.name}@${source.version}`;
}

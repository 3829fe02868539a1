import packageJson from '../../../package.json';
import { purlOf } from './purl';
import type { Sbom, SbomPackage } from './sbom';
import { gapText } from './spdx';

/**
 * A CycloneDX 1.6 document in JSON (ECMA-424). Its time is the caller's. Written here and not by the official library:
 * that cannot be bundled without the XML libraries that it takes when they are there.
 */
export function cyclonedxDocument(sbom: Sbom, created: Date): Record<string, unknown> {
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: created.toISOString(),
      tools: {
        components: [{ type: 'application', name: 'mbuild', version: packageJson.version }],
      },
      component: {
        type: 'container',
        'bom-ref': sbom.digest,
        name: sbom.name,
        version: sbom.digest,
      },
      ...(sbom.gaps.length === 0
        ? {}
        : { properties: [{ name: 'mbuild:incomplete', value: gapText(sbom) }] }),
    },
    components: sbom.packages.map((found) => component(found, sbom)),
  };
}

function component(found: SbomPackage, { distribution }: Sbom): Record<string, unknown> {
  const purl = purlOf(found, distribution);
  const { namespace, name, epoch, version, licenses } = found;
  return {
    type: 'library',
    'bom-ref': purl,
    ...(namespace === undefined ? {} : { group: namespace }),
    name,
    version: epoch === undefined ? version : `${epoch}:${version}`,
    ...(licenses === undefined
      ? {}
      : { licenses: licenses.map((license) => ({ license: { name: license } })) }),
    purl,
    properties: propertiesOf(found).map(([property, value]) => ({ name: property, value })),
  };
}

function propertiesOf(found: SbomPackage): (readonly [string, string])[] {
  const { diffId, instruction, line, paths, layer } = found;
  return [
    ['mbuild:layer:diffID', diffId],
    ['mbuild:layer:index', String(layer)],
    ...paths.map((path) => ['mbuild:path', `/${path}`] as const),
    ['mbuild:instruction', instruction],
    ...(line === undefined ? [] : [['mbuild:dockerfile:line', String(line)] as const]),
  ];
}

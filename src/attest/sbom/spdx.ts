import { createHash } from 'node:crypto';
import packageJson from '../../../package.json';
import { purlOf } from './purl';
import type { Sbom, SbomPackage } from './sbom';

/** SPDX expressions have nothing else than these. */
const EXPRESSION = /^[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*$/;

/**
 * An SPDX 2.3 document in JSON (ISO/IEC 5962, spdx.github.io/spdx-spec/v2.3). One image has one document:
 * its namespace is made of the image's digest, and its time is the caller's.
 */
export function spdxDocument(sbom: Sbom, created: Date): Record<string, unknown> {
  const image = 'SPDXRef-DocumentRoot-Image';
  const packages = sbom.packages.map((found) => spdxPackage(found, sbom));
  const namespace = createHash('sha256').update(sbom.digest).digest('hex').slice(0, 32);
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: sbom.name,
    documentNamespace: `https://github.com/mbuild-dev/mbuild/spdx/${namespace}`,
    creationInfo: {
      creators: [`Tool: mbuild-${packageJson.version}`],
      created: created.toISOString().replace(/\.\d+Z$/, 'Z'),
      ...(sbom.gaps.length === 0 ? {} : { comment: gapText(sbom) }),
    },
    packages: [imagePackage(sbom, image), ...packages],
    relationships: [
      relationship('SPDXRef-DOCUMENT', 'DESCRIBES', image),
      ...packages.map(({ SPDXID }) => relationship(image, 'CONTAINS', SPDXID)),
    ],
  };
}

/** What could not be read, for whoever takes the document as whole. */
export function gapText({ gaps }: Sbom): string {
  return `incomplete: ${gaps.map(({ path, reason }) => `${path}: ${reason}`).join('; ')}`;
}

function imagePackage({ name, digest }: Sbom, id: string): object {
  return {
    name,
    SPDXID: id,
    versionInfo: digest,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    primaryPackagePurpose: 'CONTAINER',
    checksums: [{ algorithm: 'SHA256', checksumValue: digest.replace(/^sha256:/, '') }],
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
  };
}

function spdxPackage(
  found: SbomPackage,
  { distribution }: Sbom,
): { readonly SPDXID: string } & Record<string, unknown> {
  const purl = purlOf(found, distribution);
  const hash = createHash('sha256').update(purl).digest('hex').slice(0, 16);
  return {
    name: found.namespace === undefined ? found.name : `${found.namespace}/${found.name}`,
    SPDXID: `SPDXRef-Package-${found.type}-${found.name.replace(/[^A-Za-z0-9.-]/g, '-')}-${hash}`,
    versionInfo: found.epoch === undefined ? found.version : `${found.epoch}:${found.version}`,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    sourceInfo: sourceText(found),
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: licenseText(found.licenses),
    copyrightText: 'NOASSERTION',
    externalRefs: [
      { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl },
    ],
  };
}

function sourceText({ paths, diffId, instruction, line }: SbomPackage): string {
  const place = line === undefined ? '' : ` (line ${line} of the Dockerfile)`;
  return `found in ${paths.map((path) => `/${path}`).join(', ')} of layer ${diffId}, by ${instruction}${place}`;
}

function licenseText(licenses: readonly string[] | undefined): string {
  if (licenses === undefined || !licenses.every((license) => EXPRESSION.test(license)))
    return 'NOASSERTION';
  return licenses.map((each) => (each.includes(' ') ? `(${each})` : each)).join(' AND ');
}

function relationship(from: string, relationshipType: string, to: string): object {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to };
}

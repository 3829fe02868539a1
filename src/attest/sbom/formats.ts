import type { Sbom } from './sbom';

/** A form in which an SBOM is written. */
export interface SbomFormat {
  /** As `--format` has it. */
  readonly name: string;
  /** Of the predicate that an attestation with it has. */
  readonly predicateType: string;
  /** Of that attestation, in outputs that are files. */
  readonly fileName: string;
  readonly write: (sbom: Sbom, created: Date) => Promise<Record<string, unknown>>;
}

/** The formats; their libraries are loaded when one is used. */
export const SBOM_FORMATS: readonly SbomFormat[] = [
  {
    name: 'spdx-json',
    predicateType: 'https://spdx.dev/Document',
    fileName: 'sbom.spdx.json',
    write: async (sbom, created) => (await import('./spdx')).spdxDocument(sbom, created),
  },
  {
    name: 'cyclonedx-json',
    predicateType: 'https://cyclonedx.org/bom',
    fileName: 'sbom.cyclonedx.json',
    write: async (sbom, created) => (await import('./cyclonedx')).cyclonedxDocument(sbom, created),
  },
];

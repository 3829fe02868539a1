import { readAttestations } from '../../src/cli/attest-options';

const read = (flags: Partial<Parameters<typeof readAttestations>[0]>): unknown =>
  readAttestations({ attest: [], provenance: undefined, sbom: undefined, ...flags });

describe('--attest, --provenance and --sbom', () => {
  it.each([
    [{}, undefined],
    [{ provenance: 'false', sbom: 'false' }, undefined],
    [{ attest: ['type=provenance,disabled=true'] }, undefined],
    [{ provenance: 'true' }, { provenance: { mode: 'min', version: 'v1' } }],
    [{ attest: ['provenance'] }, { provenance: { mode: 'min' } }],
    [{ provenance: 'mode=max,version=v0.2' }, { provenance: { mode: 'max', version: 'v0.2' } }],
    [
      { attest: ['type=provenance,mode=min,inline-only=true,builder-id=https://ci/1'] },
      { provenance: { mode: 'min', inlineOnly: true, builderId: 'https://ci/1' } },
    ],
    [{ sbom: '1' }, { sbom: { format: 'spdx-json' } }],
    [{ sbom: 'cyclonedx-json' }, { sbom: { format: 'cyclonedx-json' } }],
    [{ sbom: 'generator=mbuild' }, { sbom: { format: 'spdx-json' } }],
    [{ sbom: 'generator=cyclonedx-json' }, { sbom: { format: 'cyclonedx-json' } }],
    [
      { attest: ['type=sbom'], provenance: '1' },
      { provenance: {}, sbom: {} },
    ],
  ])('%j', (flags, expected) => {
    if (expected === undefined) expect(read(flags)).toBeUndefined();
    else expect(read(flags)).toMatchObject(expected);
  });

  it.each([
    [{ attest: ['type=provenanse'] }, 'unknown type "provenanse"'],
    [{ attest: ['mode=max'] }, 'unknown type ""'],
    [{ attest: ['type=provenance'], provenance: 'true' }, 'asked for twice'],
    [{ provenance: 'mode=most' }, 'mode=most is unknown'],
    [{ provenance: 'version=v2' }, 'version=v2 is unknown'],
    [{ provenance: 'filename=../p.json' }, 'is not the name of a file'],
    [{ provenance: 'referrers=true' }, '"referrers" of --attest type=provenance'],
    [{ sbom: 'generator=docker/scanner' }, 'generator=docker/scanner is not supported'],
    [{ sbom: 'formt=spdx-json' }, 'unknown key "formt"'],
  ])('%j is refused', (flags, message) => {
    expect(() => read(flags)).toThrow(message);
  });
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalContentStore } from '../../../src/content/local-store';
import { directoryFiles } from '../../../src/images/transfer/image-files';
import { layoutEntries } from '../../../src/images/transfer/layout';
import { digestOf } from '../../../src/oci/digest';
import { MediaType } from '../../../src/oci/media-types';

describe('the names in a layout', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'mbuild-layout-'));
    mkdirSync(path.join(root, 'store'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  async function namesIn(
    entries: readonly (readonly [full: string | undefined, short: string | undefined])[],
  ): Promise<(readonly string[])[]> {
    const manifests = entries.map(([full, short], i) => ({
      mediaType: MediaType.ociManifest,
      digest: digestOf(String(i)),
      size: 1,
      annotations: {
        'io.containerd.image.name': full ?? null,
        'org.opencontainers.image.ref.name': short ?? null,
      },
    }));
    writeFileSync(path.join(root, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    const files = directoryFiles(root, new LocalContentStore(path.join(root, 'store')));
    return ((await layoutEntries(files)) ?? []).map(({ names }) => names);
  }

  it.each<[Parameters<typeof namesIn>[0], string[][]]>([
    [[['docker.io/library/app:1', '1']], [['docker.io/library/app:1']]],
    [[['docker.io/library/app:1', 'other']], [['docker.io/library/app:1']]],
    // umoci tag: the new entry has the annotations of the old one, but for the tag.
    [
      [
        ['docker.io/library/app:1', '1'],
        ['docker.io/library/app:1', '2'],
      ],
      [['app:1'], ['app:2']],
    ],
    [
      [
        ['reg.example/a/app:1', '1'],
        ['reg.example/a/app:1', 'fixed'],
      ],
      [['reg.example/a/app:1'], ['reg.example/a/app:fixed']],
    ],
    [[[undefined, 'latest']], [[]]],
    [[[undefined, 'reg.example/app:2']], [['reg.example/app:2']]],
    [[['not a name', 'app:3']], [['app:3']]],
    [[[undefined, undefined]], [[]]],
  ])('%j are %j', async (entries, names) => {
    await expect(namesIn(entries)).resolves.toEqual(names);
  });
});

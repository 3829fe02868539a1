import { unzipSync, type UnzipFileInfo } from 'fflate';
import { paragraphs, linesOf } from '../paragraphs';
import type { Ecosystem, Package } from '../package';

/** Archives inside of archives are read so deep (a WAR in an EAR has JARs). */
const MAX_DEPTH = 3;
/** Larger members are no records. */
const MAX_RECORD = 1024 * 1024;
const MAX_INNER = 128 * 1024 * 1024;

const RECORD = /^META-INF\/(?:maven\/[^/]+\/[^/]+\/pom\.properties|MANIFEST\.MF)$/;
const ARCHIVE = /\.(?:jar|war|ear)$/i;

/** Java archives: what Maven writes into them, else their manifest. */
export const MAVEN: Ecosystem = {
  name: 'maven',
  claims: ({ path }) => ARCHIVE.test(path),
  read: (file) => readArchive(file.path, file.read(), 0),
};

function readArchive(path: string, bytes: Uint8Array, depth: number): Package[] {
  const wanted = ({ name, originalSize }: UnzipFileInfo): boolean =>
    RECORD.test(name)
      ? originalSize <= MAX_RECORD
      : ARCHIVE.test(name) && depth < MAX_DEPTH && originalSize <= MAX_INNER;
  const members = Object.entries(unzipSync(bytes, { filter: wanted }));
  const own = members.filter(([name]) => name.endsWith('/pom.properties')).flatMap(fromProperties);
  const manifest = members.find(([name]) => name.endsWith('/MANIFEST.MF'));
  const inner = members
    .filter(([name]) => ARCHIVE.test(name))
    .flatMap(([name, content]) => readArchive(name, content, depth + 1));
  if (own.length > 0 || manifest === undefined) return [...own, ...inner];
  return [...fromManifest(path, Buffer.from(manifest[1])), ...inner];
}

function fromProperties([, content]: readonly [string, Uint8Array]): Package[] {
  const values = new Map(
    [...linesOf(Buffer.from(content))].map((line) => line.split('=', 2) as [string, string]),
  );
  const namespace = values.get('groupId')?.trim();
  const name = values.get('artifactId')?.trim();
  const version = values.get('version')?.trim();
  if (!name || !version) return [];
  return [{ type: 'maven', namespace, name, version }];
}

/** Archives of others than Maven: the name of the file, and the version that the manifest has. */
function fromManifest(path: string, bytes: Buffer): Package[] {
  const [main] = paragraphs(bytes);
  const version =
    main?.get('implementation-version') ??
    main?.get('bundle-version') ??
    main?.get('specification-version');
  const [, stem = ''] = /([^/]+?)(?:-\d[^/]*)?\.[a-z]+$/i.exec(path) ?? [];
  if (version === undefined || stem === '') return [];
  return [{ type: 'maven', name: stem, version }];
}

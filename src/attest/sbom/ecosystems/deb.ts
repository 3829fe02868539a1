import { paragraphs } from '../paragraphs';
import type { Ecosystem, Package } from '../package';

/** The status file, and the one file a package that distroless images have (deb-control(5), dpkg-query(1)). */
const RECORDS = /^(?:usr\/lib\/|var\/lib\/)(?:sysimage\/)?dpkg\/(?:status|status\.d\/[^/]+)$/;

/** dpkg. */
export const DEB: Ecosystem = {
  name: 'dpkg',
  claims: ({ path }) => RECORDS.test(path) && !path.endsWith('.md5sums'),
  read: (file) =>
    [...paragraphs(file.read())].flatMap((fields) => {
      const found = readPackage(fields);
      // Files of status.d have no state: they are of installed packages.
      const state = fields.get('status')?.split(' ')[2] ?? 'installed';
      return found === undefined || state !== 'installed' ? [] : [found];
    }),
};

function readPackage(fields: ReadonlyMap<string, string>): Package | undefined {
  const name = fields.get('package');
  const version = fields.get('version');
  if (name === undefined || version === undefined) return undefined;
  const [, source, sourceVersion] =
    /^(\S+)(?: \(([^)]+)\))?$/.exec(fields.get('source') ?? '') ?? [];
  return {
    type: 'deb',
    name,
    version,
    architecture: fields.get('architecture'),
    source: source === undefined ? undefined : { name: source, version: sourceVersion },
  };
}

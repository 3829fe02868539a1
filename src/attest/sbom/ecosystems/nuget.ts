import { objectIn, readJson } from '../json';
import type { Ecosystem } from '../package';

/** What .NET programs bring: their dependency file names each package. */
export const NUGET: Ecosystem = {
  name: 'nuget',
  claims: ({ path }) => path.endsWith('.deps.json'),
  read: (file) =>
    Object.entries(objectIn(readJson(file)['libraries'])).flatMap(([id, library]) => {
      const [name = '', version] = id.split('/');
      const isPackage = objectIn(library)['type'] === 'package';
      return isPackage && version !== undefined ? [{ type: 'nuget', name, version }] : [];
    }),
};

import { listIn, objectIn, readJson } from '../json';
import { textIn, type Ecosystem, type Package } from '../package';

/** What Composer installs. */
export const COMPOSER: Ecosystem = {
  name: 'composer',
  claims: ({ path }) => /(?:^|\/)vendor\/composer\/installed\.json$/.test(path),
  read: (file) => {
    const text = file.read().toString().trimStart();
    // Composer 1 wrote the list alone.
    const packages = text.startsWith('[')
      ? listIn(JSON.parse(text))
      : listIn(readJson(file)['packages']);
    return packages.map(objectIn).flatMap(readPackage);
  },
};

function readPackage(json: Readonly<Record<string, unknown>>): Package[] {
  const [namespace, name] = textIn(json['name'])?.split('/') ?? [];
  const version = textIn(json['version']);
  if (name === undefined || version === undefined) return [];
  const licenses = listIn(json['license']).flatMap((license) => textIn(license) ?? []);
  return [
    {
      type: 'composer',
      namespace,
      name,
      version,
      licenses: licenses.length === 0 ? undefined : licenses,
    },
  ];
}

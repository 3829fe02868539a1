import { readJson } from '../json';
import { textIn, type Ecosystem, type Package } from '../package';

/** What npm, pnpm and yarn install: the package.json of each directory right under a node_modules. */
export const NPM: Ecosystem = {
  name: 'npm',
  claims: ({ path }) => /(?:^|\/)node_modules\/(?:@[^/]+\/)?[^/@][^/]*\/package\.json$/.test(path),
  read: (file) => {
    const json = readJson(file);
    const fullName = textIn(json['name']);
    const version = textIn(json['version']);
    // Packages have both; files that only say how modules are read have neither.
    if (fullName === undefined || version === undefined) return [];
    const [, namespace, name = fullName] = /^(@[^/]+)\/(.+)$/.exec(fullName) ?? [];
    return [
      { type: 'npm', namespace, name, version, licenses: licensesOf(json) } satisfies Package,
    ];
  },
};

/** `license` is a text today, and was an object or a list. */
function licensesOf({
  license,
  licenses,
}: Readonly<Record<string, unknown>>): string[] | undefined {
  const all = [license, ...(Array.isArray(licenses) ? licenses : [])].flatMap((each: unknown) => {
    if (typeof each === 'object' && each !== null && 'type' in each) return textIn(each.type) ?? [];
    return textIn(each) ?? [];
  });
  return all.length === 0 ? undefined : all;
}

import type { Ecosystem } from '../package';

/** What RubyGems installs: a program for each gem, in the form that RubyGems writes. */
export const GEM: Ecosystem = {
  name: 'gem',
  claims: ({ path }) => /\/specifications\/(?:default\/)?[^/]+\.gemspec$/.test(path),
  read: (file) => {
    const text = file.read().toString();
    const name = assigned(text, 'name');
    const version = assigned(text, 'version');
    if (name === undefined || version === undefined)
      throw new Error('it assigns no name or no version as RubyGems does');
    const platform = assigned(text, 'platform');
    const full = platform === undefined || platform === 'ruby' ? version : `${version}-${platform}`;
    const list = /^\s*\w+\.licenses? = (.*)$/m.exec(text)?.[1] ?? '';
    const licenses = [...list.matchAll(/"([^"]+)"|'([^']+)'/g)].map(([, a, b]) => a ?? b ?? '');
    return [
      { type: 'gem', name, version: full, licenses: licenses.length === 0 ? undefined : licenses },
    ];
  },
};

function assigned(text: string, attribute: string): string | undefined {
  const found = new RegExp(
    `^\\s*\\w+\\.${attribute} = (?:Gem::Version\\.new\\()?(?:"([^"]+)"|'([^']+)')`,
    'm',
  ).exec(text);
  return found?.[1] ?? found?.[2];
}

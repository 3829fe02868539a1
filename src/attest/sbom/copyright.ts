/** The package whose copyright file this is (Debian Policy, 12.5); `undefined` for another file. */
export function copyrightOf(path: string): string | undefined {
  return /^usr\/share\/doc\/([^/]+)\/copyright$/.exec(path)?.[1];
}

/** Debian's names of licenses that SPDX calls otherwise. */
const SPDX: Readonly<Record<string, string>> = {
  'GPL-1': 'GPL-1.0-only',
  'GPL-1+': 'GPL-1.0-or-later',
  'GPL-2': 'GPL-2.0-only',
  'GPL-2+': 'GPL-2.0-or-later',
  'GPL-3': 'GPL-3.0-only',
  'GPL-3+': 'GPL-3.0-or-later',
  'LGPL-2': 'LGPL-2.0-only',
  'LGPL-2+': 'LGPL-2.0-or-later',
  'LGPL-2.1': 'LGPL-2.1-only',
  'LGPL-2.1+': 'LGPL-2.1-or-later',
  'LGPL-3': 'LGPL-3.0-only',
  'LGPL-3+': 'LGPL-3.0-or-later',
  'BSD-2-clause': 'BSD-2-Clause',
  'BSD-3-clause': 'BSD-3-Clause',
  Expat: 'MIT',
  zlib: 'Zlib',
};

/**
 * The licenses that a machine-readable copyright file names (Debian, "Machine-readable debian/copyright file");
 * none for one that is written for people alone.
 */
export function copyrightLicenses(bytes: Buffer): string[] {
  const text = bytes.toString();
  if (!/^Format:/im.test(text.slice(0, 1000))) return [];
  const names = [...text.matchAll(/^License:[ \t]*(\S[^\n]*)$/gim)].flatMap(([, line = '']) =>
    line.split(/\s+(?:and|or)\s+|,\s*/i).map((name) => name.replace(/\s+with\s.*$/i, '').trim()),
  );
  return [...new Set(names.filter(Boolean).map((name) => SPDX[name] ?? name))].sort();
}

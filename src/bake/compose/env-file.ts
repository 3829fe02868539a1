import { MbuildError } from '../../diagnostics/error';
import { interpolate, type Lookup } from './interpolate';

/**
 * Reads the lines of an `.env` file: `NAME=value`, `export NAME=value`, comments, single quotes
 * (as it stands) and double quotes (with escapes and variables), which may hold line feeds.
 * @throws MbuildError BAKE_INVALID.
 */
export function readEnvFile(name: string, text: string, lookup: Lookup): Map<string, string> {
  const found = new Map<string, string>();
  const find: Lookup = (variable) => lookup(variable) ?? found.get(variable);
  const line =
    /[ \t]*(?:(#[^\n]*)?|(?:export[ \t]+)?([\w.-]+)[ \t]*(?:[=:][ \t]*(?:'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|([^\n]*)))?)[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/y;
  while (line.lastIndex < text.length) {
    const start = line.lastIndex;
    const match = line.exec(text);
    if (match === null) {
      const number = text.slice(0, start).split('\n').length;
      throw new MbuildError('BAKE_INVALID', `${name}:${number}: this line is not NAME=value`);
    }
    const [, , variable, single, double, bare = ''] = match;
    if (variable === undefined) continue;
    found.set(variable, valueOf());

    function valueOf(): string {
      if (single !== undefined) return single;
      if (double !== undefined) return interpolate(unescape(double), find);
      return interpolate(bare.replace(/\s+#.*$/, '').trim(), find);
    }
  }
  return found;
}

function unescape(text: string): string {
  const escapes: Readonly<Record<string, string>> = {
    n: '\n',
    r: '\r',
    t: '\t',
    '"': '"',
    '\\': '\\',
  };
  return text.replace(/\\([\s\S])/g, (whole, letter: string) => escapes[letter] ?? whole);
}

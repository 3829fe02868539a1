import { Range, coerce, type SemVer } from 'semver';
import { hashSync } from 'bcryptjs';
import { define, defineVariadic, refuse, type Library } from './define';

/** Functions that need a library: versions and bcrypt. */
export const VERSIONS: Library = {
  bcrypt: defineVariadic(['string'], 'number', ([text], [cost = 10]) => hashSync(text, cost)),
  semvercmp: define(['string', 'string'], (version, constraint) => {
    const parsed = parseVersion(version);
    return constraint.split('||').some((all) => satisfies(parsed, all));
  }),
};

/** Versions need not have three numbers: `1.2` and `v1` are taken. */
function parseVersion(text: string): SemVer {
  const parsed = /^v?\d+(\.\d+){0,2}([-+].*)?$/.test(text)
    ? coerce(text, { includePrerelease: true })
    : null;
  if (parsed === null) throw refuse(`${JSON.stringify(text)} is not a version`);
  return parsed;
}

/** Conditions that commas or spaces join, in the forms of Masterminds/semver. */
function satisfies(version: SemVer, constraint: string): boolean {
  const conditions = constraint
    .replace(/([<>=!~^]+)\s+/g, '$1')
    .replaceAll('=>', '>=')
    .replaceAll('=<', '<=')
    .split(/[\s,]+(?!-\s)(?<!\s-\s)/)
    .filter((part) => part !== '');
  return conditions.every((condition) => {
    const [, not = '', range = ''] = /^(!=)?(.*)$/s.exec(condition) ?? [];
    return rangeOf(range).test(version) !== (not !== '');
  });
}

function rangeOf(text: string): Range {
  try {
    return new Range(text);
  } catch {
    throw refuse(`${JSON.stringify(text)} is not a condition on versions`);
  }
}

import { familiarName, formatReference, parseReference } from '../../src/oci/reference';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('references', () => {
  it.each([
    ['debian', 'docker.io/library/debian:latest', 'debian:latest'],
    ['debian:12', 'docker.io/library/debian:12', 'debian:12'],
    ['user/app', 'docker.io/user/app:latest', 'user/app:latest'],
    ['index.docker.io/library/a', 'docker.io/library/a:latest', 'a:latest'],
    ['localhost/app', 'localhost/app:latest', 'localhost/app:latest'],
    ['127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c', '127.0.0.1:5000/a/b:c'],
    ['[::1]:5000/a', '[::1]:5000/a:latest', '[::1]:5000/a:latest'],
    [`debian@${DIGEST}`, `docker.io/library/debian@${DIGEST}`, `debian@${DIGEST}`],
    [`debian:12@${DIGEST}`, `docker.io/library/debian:12@${DIGEST}`, `debian:12@${DIGEST}`],
  ])('%s is %s and shows as %s', (text, full, familiar) => {
    const ref = parseReference(text);
    expect(ref && formatReference(ref)).toBe(full);
    expect(ref && familiarName(ref)).toBe(familiar);
  });

  it.each([
    '',
    'Debian',
    'a b',
    'a:',
    'a@sha256:1',
    'a//b',
    '-a',
    'a'.repeat(64).replace(/a/g, '0'),
    ':tag',
    'a:b:c',
    'a/UPPER',
    'sha256:abc',
    `sha256:${'a'.repeat(64)}`,
    `a@sha512:${'a'.repeat(128)}`,
  ])('%j is no reference', (text) => {
    expect(parseReference(text)).toBeUndefined();
  });
});

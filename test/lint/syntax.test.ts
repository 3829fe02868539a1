import { parseDockerfile } from '../../src/dockerfile/parse';
import { syntaxWarnings } from '../../src/lint/syntax';

function warnings(text: string, buildArgs: Readonly<Record<string, string>> = {}): string[] {
  return syntaxWarnings(
    parseDockerfile({ name: 'Dockerfile', text: `${text}\nFROM scratch\n` }),
    buildArgs,
  ).map(
    ({ code, message, range }) =>
      `${code}${range === undefined ? '' : ` ${range.start.line}`}: ${message}`,
  );
}

describe('# syntax=', () => {
  it.each([
    'docker/dockerfile:1',
    'docker/dockerfile:1.26',
    'docker/dockerfile:1.4-labs',
    'docker/dockerfile',
    'docker/dockerfile:labs',
    'dockerfile.v0',
    'docker.io/docker/dockerfile-upstream:master',
    `docker/dockerfile:1@sha256:${'a'.repeat(64)}`,
    'docker/dockerfile:1.26 --some flag',
    'Not/A/Reference',
  ])('%s is what is known', (syntax) => expect(warnings(`# syntax=${syntax}`)).toEqual([]));

  it.each([
    [
      'docker/dockerfile:1.27',
      'SyntaxVersion 1: the file asks for Dockerfile syntax 1.27, but mbuild reads it as 1.26, the newest that it supports',
    ],
    [
      'docker/dockerfile:1.100.3-labs',
      'SyntaxVersion 1: the file asks for Dockerfile syntax 1.100.3-labs, but mbuild reads it as 1.26, the newest that it supports',
    ],
    [
      'docker.io/docker/dockerfile:2',
      'SyntaxVersion 1: the file asks for Dockerfile syntax 2, but mbuild reads it as 1.26, the newest that it supports',
    ],
    [
      'ghcr.io/my/frontend:2',
      'SyntaxFrontend 1: the syntax ghcr.io/my/frontend:2 is not loaded: mbuild reads the file as Dockerfile 1.26',
    ],
  ])('%s is warned of', (syntax, expected) =>
    expect(warnings(`# syntax=${syntax}`)).toEqual([expected]),
  );

  it('is warned of where it stands', () =>
    expect(warnings('# escape=`\n# Syntax = docker/dockerfile:9')).toEqual([
      expect.stringMatching(/^SyntaxVersion 2: /),
    ]));

  it('gives way to the build argument', () => {
    expect(warnings('# syntax=my/frontend', { BUILDKIT_SYNTAX: 'docker/dockerfile:1' })).toEqual(
      [],
    );
    expect(warnings('', { BUILDKIT_SYNTAX: 'my/frontend' })).toEqual([
      'SyntaxFrontend: the syntax my/frontend is not loaded: mbuild reads the file as Dockerfile 1.26',
    ]);
  });
});

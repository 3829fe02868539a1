import type { Diagnostic } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import { DOCKERFILE_VERSION } from '../dockerfile/version';
import { parseReference } from '../oci/reference';
import { directiveRange } from './config';

/** The build argument that stands for the file's `# syntax=`. */
const SYNTAX_ARG = 'BUILDKIT_SYNTAX';
/** What BuildKit calls the frontend that it has built in: it needs no loading. */
const BUILT_IN = 'dockerfile.v0';
/** The images of BuildKit's own frontend. */
const FRONTENDS: readonly string[] = ['docker/dockerfile', 'docker/dockerfile-upstream'];

/**
 * What `# syntax=` asks for and mbuild is not: it loads no frontends, and reads the file as the
 * version that it knows. Code `SyntaxVersion` for a newer Dockerfile, `SyntaxFrontend` for another
 * language. Not a check: `# check=` has no say in it.
 */
export function syntaxWarnings(
  dockerfile: Dockerfile,
  buildArgs: Readonly<Record<string, string>>,
): Diagnostic[] {
  const given = buildArgs[SYNTAX_ARG];
  // Behind the image may stand a command line for it.
  const [image = ''] = (given ?? dockerfile.directives.syntax ?? '').trim().split(/\s+/);
  const reference = parseReference(image);
  if (reference === undefined || image === BUILT_IN) return [];
  const place =
    given === undefined
      ? { file: dockerfile.file, range: directiveRange(dockerfile, 'syntax') }
      : {};
  const known = DOCKERFILE_VERSION.join('.');
  if (!FRONTENDS.includes(reference.repository))
    return [
      {
        severity: 'warning',
        code: 'SyntaxFrontend',
        message: `the syntax ${image} is not loaded: mbuild reads the file as Dockerfile ${known}`,
        ...place,
      },
    ];
  if (!isNewer(reference.tag)) return [];
  return [
    {
      severity: 'warning',
      code: 'SyntaxVersion',
      message: `the file asks for Dockerfile syntax ${reference.tag}, but mbuild reads it as ${known}, the newest that it supports`,
      ...place,
    },
  ];
}

/** `1.27`, `1.27.0-labs`, `2`; names such as `labs` say nothing. */
function isNewer(tag = ''): boolean {
  const [, major, minor] = /^(\d+)(?:\.(\d+))?(?:[.-]|$)/.exec(tag) ?? [];
  if (major === undefined) return false;
  return (
    Number(major) > DOCKERFILE_VERSION[0] ||
    (Number(major) === DOCKERFILE_VERSION[0] && Number(minor ?? 0) > DOCKERFILE_VERSION[1])
  );
}

import type { BuildResult } from '../build';
import type { FlagTable, FlagValues } from './args';
import { parseReference } from '../oci/reference';

/** Files that a build writes for the steps of a pipeline that come after it; kaniko's names. */
export const DIGEST_FLAGS = {
  'digest-file': {
    kind: 'string',
    value: 'FILE',
    help: "Write the image's digest to a file: of its manifest, or of the index of several platforms",
  },
  'image-name-with-digest-file': {
    kind: 'string',
    value: 'FILE',
    help: 'Write a line for each name of the image to a file: REPOSITORY@DIGEST',
  },
  'image-name-tag-with-digest-file': {
    kind: 'string',
    value: 'FILE',
    help: 'Write a line for each name of the image to a file: REPOSITORY:TAG@DIGEST',
  },
} as const satisfies FlagTable;

/** What is to be written, by file. */
export function digestFiles(
  { descriptor: { digest }, names }: Pick<BuildResult, 'descriptor' | 'names'>,
  flags: FlagValues<typeof DIGEST_FLAGS>,
): readonly (readonly [file: string, text: string])[] {
  const lines = (nameOf: (repository: string, tag: string) => string): string =>
    names
      .flatMap((name) => parseReference(name) ?? [])
      .map(
        ({ registry, repository, tag = 'latest' }) =>
          `${nameOf(`${registry}/${repository}`, tag)}@${digest}\n`,
      )
      .join('');
  const files: [string | undefined, string][] = [
    [flags['digest-file'], digest],
    [flags['image-name-with-digest-file'], lines((repository) => repository)],
    [flags['image-name-tag-with-digest-file'], lines((repository, tag) => `${repository}:${tag}`)],
  ];
  return files.flatMap(([file, text]) => (file === undefined ? [] : [[file, text] as const]));
}

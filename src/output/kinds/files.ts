import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import { FILE_NAME, FLAG, TEXT, oneOf, type KeyTable } from '../../diagnostics/structured-option';
import { toRaw } from '../../linux/paths';
import { destinationOf } from './archive';
import type { StatementFile } from '../file-statements';
import {
  defineOutput,
  ELSEWHERE,
  type AnyOutput,
  type OutgoingResult,
  type OutputSetting,
} from './kind';

/** `type=tar`: the files of images as a tar. */
export interface TarOutput extends AnyOutput {
  readonly type: 'tar';
  /** A path, or `-` for standard output. */
  readonly dest: string;
  readonly platformSplit?: boolean | undefined;
  readonly attestationPrefix?: string | undefined;
}

/** `type=local`: the files of images in a directory. */
export interface LocalOutput extends AnyOutput {
  readonly type: 'local';
  readonly dest: string;
  /** `delete`: what is in the directory and not in the image goes. */
  readonly mode?: 'copy' | 'delete' | undefined;
  readonly platformSplit?: boolean | undefined;
  readonly attestationPrefix?: string | undefined;
}

const FILE_KEYS = {
  dest: TEXT,
  'platform-split': FLAG,
  'attestation-prefix': FILE_NAME,
  'source-date-epoch': {
    refused: 'is an option of the build, not of an output',
    hint: 'use --source-date-epoch SECONDS',
  },
} as const satisfies KeyTable;
const LOCAL_KEYS = { ...FILE_KEYS, mode: oneOf(['copy', 'delete']) } as const satisfies KeyTable;

export const tar = defineOutput<TarOutput, typeof FILE_KEYS>({
  type: 'tar',
  keys: FILE_KEYS,
  read: ({
    dest = '-',
    'platform-split': platformSplit,
    'attestation-prefix': attestationPrefix,
  }) => ({ type: 'tar', dest, platformSplit, attestationPrefix }),
  traits: ({ dest }) => ({
    result: 'files',
    ...ELSEWHERE,
    indexes: false,
    layers: 'none',
    title: 'sending tarball',
    toStdout: dest === '-',
  }),
  export: async (spec, images, { services, scope, sourceDateEpoch }) => {
    const [{ directoriesTar }, { writeTo }] = await Promise.all([
      import('../tar'),
      import('../destination'),
    ]);
    const trees = await Promise.all(
      images.map(async (one) => ({
        directory: toRaw(directoryOf(one, images, spec.platformSplit)),
        view: services.snapshots.view(one.image.stack),
        files: await statementsOf(one, images, spec, { services, scope }),
      })),
    );
    const bytes = directoriesTar(trees, sourceDateEpoch);
    await writeTo(destinationOf(spec.dest), bytes, scope.signal);
    return undefined;
  },
});

export const local = defineOutput<LocalOutput, typeof LOCAL_KEYS>({
  type: 'local',
  keys: LOCAL_KEYS,
  read: (values) => {
    const { dest = '', mode } = values;
    const platformSplit = values['platform-split'];
    const attestationPrefix = values['attestation-prefix'];
    if (dest === '') throw new MbuildError('USAGE', '--output type=local needs dest=DIRECTORY');
    return { type: 'local', dest, mode, platformSplit, attestationPrefix };
  },
  traits: () => ({
    result: 'files',
    ...ELSEWHERE,
    indexes: false,
    layers: 'none',
    title: 'copying files',
  }),
  export: async (spec, images, { services, vertex, scope, sourceDateEpoch }) => {
    const { localExporter, emptyDirectory, replaceText } = await import('../local');
    if (spec.mode === 'delete') emptyDirectory(deletable(spec.dest));
    for (const one of images) {
      const directory = path.join(spec.dest, directoryOf(one, images, spec.platformSplit));
      const exporter = localExporter(directory, services, sourceDateEpoch);
      await exporter.export([one], vertex, scope);
      for (const { name, text } of await statementsOf(one, images, spec, { services, scope }))
        replaceText(path.join(directory, name), text, scope.signal);
    }
    return undefined;
  },
});

/** The statements about an image's files that lie beside them. */
async function statementsOf(
  one: OutgoingResult,
  images: readonly OutgoingResult[],
  { platformSplit, attestationPrefix }: TarOutput | LocalOutput,
  { services, scope }: Pick<OutputSetting, 'services' | 'scope'>,
): Promise<readonly StatementFile[]> {
  const { attestations = [], image, platform } = one;
  if (attestations.length === 0) return [];
  const { fileStatements } = await import('../file-statements');
  const areTogether = images.length > 1 && platformSplit === false;
  return fileStatements(
    {
      attestations,
      prefix: attestationPrefix,
      platform: areTogether ? platform.replaceAll('/', '_') : undefined,
    },
    services.snapshots.view(image.stack),
    scope.signal,
  );
}

/**
 * Where an image's files go: of several images each has a directory of its own, and with
 * `platform-split` a single one has it too. Without, all are in one.
 */
function directoryOf(
  { directory, platform }: OutgoingResult,
  images: readonly OutgoingResult[],
  split: boolean | undefined,
): string {
  if (split === false) return '';
  if (images.length > 1) return directory;
  return split === true ? platform.replaceAll('/', '_') : '';
}

/**
 * Only what lies below the working directory is ever emptied, as in buildx.
 * @throws MbuildError NOT_ALLOWED.
 */
function deletable(dest: string): string {
  const relative = path.relative(process.cwd(), path.resolve(dest));
  const isBelow = relative !== '' && !relative.startsWith('..') && !path.isAbsolute(relative);
  if (isBelow) return dest;
  throw new MbuildError('NOT_ALLOWED', `mode=delete does not empty ${dest}`, {
    hint: 'give a directory below the working directory, or empty this one yourself',
  });
}

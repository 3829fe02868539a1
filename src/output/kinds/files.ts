import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import { FLAG, TEXT, oneOf, type KeyTable } from '../../diagnostics/structured-option';
import { toRaw } from '../../linux/paths';
import { destinationOf } from './archive';
import { defineOutput, ELSEWHERE, type AnyOutput, type OutgoingResult } from './kind';

/** `type=tar`: the files of images as a tar. */
export interface TarOutput extends AnyOutput {
  readonly type: 'tar';
  /** A path, or `-` for standard output. */
  readonly dest: string;
  readonly platformSplit?: boolean | undefined;
}

/** `type=local`: the files of images in a directory. */
export interface LocalOutput extends AnyOutput {
  readonly type: 'local';
  readonly dest: string;
  /** `delete`: what is in the directory and not in the image goes. */
  readonly mode?: 'copy' | 'delete' | undefined;
  readonly platformSplit?: boolean | undefined;
}

const NO_ATTESTATIONS = 'is about attestations, which mbuild does not make';
const FILE_KEYS = {
  dest: TEXT,
  'platform-split': FLAG,
  'attestation-prefix': { refused: NO_ATTESTATIONS },
  'source-date-epoch': {
    refused: 'is an option of the whole build',
    hint: 'use --source-date-epoch SECONDS',
  },
} as const satisfies KeyTable;
const LOCAL_KEYS = { ...FILE_KEYS, mode: oneOf(['copy', 'delete']) } as const satisfies KeyTable;

export const tar = defineOutput<TarOutput, typeof FILE_KEYS>({
  type: 'tar',
  keys: FILE_KEYS,
  read: ({ dest = '-', 'platform-split': platformSplit }) => ({ type: 'tar', dest, platformSplit }),
  traits: ({ dest }) => ({
    result: 'files',
    ...ELSEWHERE,
    indexes: false,
    layers: 'none',
    title: 'sending tarball',
    toStdout: dest === '-',
  }),
  export: async ({ dest, platformSplit }, images, { services, scope, sourceDateEpoch }) => {
    const [{ directoriesTar }, { writeTo }] = await Promise.all([
      import('../tar'),
      import('../destination'),
    ]);
    const trees = images.map((one) => ({
      directory: toRaw(directoryOf(one, images, platformSplit)),
      view: services.snapshots.view(one.image.stack),
    }));
    const bytes = directoriesTar(trees, sourceDateEpoch);
    await writeTo(destinationOf(dest), bytes, scope.signal);
    return undefined;
  },
});

export const local = defineOutput<LocalOutput, typeof LOCAL_KEYS>({
  type: 'local',
  keys: LOCAL_KEYS,
  read: ({ dest = '', mode, 'platform-split': platformSplit }) => {
    if (dest === '') throw new MbuildError('USAGE', '--output type=local needs dest=DIRECTORY');
    return { type: 'local', dest, mode, platformSplit };
  },
  traits: () => ({
    result: 'files',
    ...ELSEWHERE,
    indexes: false,
    layers: 'none',
    title: 'copying files',
  }),
  export: async (spec, images, { services, vertex, scope, sourceDateEpoch }) => {
    const { localExporter, emptyDirectory } = await import('../local');
    if (spec.mode === 'delete') emptyDirectory(deletable(spec.dest));
    for (const one of images) {
      const directory = path.join(spec.dest, directoryOf(one, images, spec.platformSplit));
      const exporter = localExporter(directory, services, sourceDateEpoch);
      await exporter.export([one], vertex, scope);
    }
    return undefined;
  },
});

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
    hint: 'name a directory below the working directory, or delete it yourself',
  });
}

import { MbuildError } from '../../diagnostics/error';
import {
  FLAG,
  TEXT,
  onlyFlag,
  type KeyTable,
  type KeyValues,
  type ReadKey,
} from '../../diagnostics/structured-option';
import { splitCsv } from '../../diagnostics/csv';
import { didYouMean } from '../../diagnostics/suggest';
import { formatReference, parseReference } from '../../oci/reference';
import type { CompressionSpec } from '../exporter';
import type { ImageForm, ReadContext } from './kind';

const LEVELS = { gzip: 9, zstd: 22 } as const;
const BUILD_INFO = 'was removed from BuildKit in 0.12, and mbuild never had it';

const COMPRESSION: ReadKey<CompressionSpec['type']> = {
  read: (value, key, wrong) => {
    if (value === 'gzip' || value === 'zstd' || value === 'none') return value;
    if (value === 'uncompressed') return 'none';
    if (value === 'estargz')
      throw new MbuildError('UNSUPPORTED', `${key}=estargz is not supported`, {
        hint: 'zstd is smaller and faster to unpack; lazy pulling needs a snapshotter that mbuild does not have',
      });
    throw wrong(
      `unknown ${key} "${value}"`,
      didYouMean(value, ['gzip', 'zstd', 'uncompressed']) ??
        'write one of gzip, zstd, uncompressed',
    );
  },
};

const LEVEL: ReadKey<number> = {
  read: (value, key, wrong) => {
    if (/^\d{1,2}$/.test(value)) return Number(value);
    throw wrong(`${key} "${value}" is not a number`);
  },
};

/** How layers are compressed: of outputs and of caches. */
export const COMPRESSION_KEYS = {
  compression: COMPRESSION,
  'compression-level': LEVEL,
  'force-compression': FLAG,
} as const satisfies KeyTable;

/**
 * What every output of an image can be told. BuildKit, exporter/containerimage/exptypes/keys.go.
 */
export const IMAGE_KEYS = {
  name: TEXT,
  ...COMPRESSION_KEYS,
  'oci-mediatypes': FLAG,
  'rewrite-timestamp': FLAG,
  'oci-artifact': FLAG,
  'attestation-inline': onlyFlag(
    true,
    'is not supported',
    'attestations always lie beside the image, in its index; --provenance=false makes none',
  ),
  'prefer-nondist-layers': onlyFlag(
    false,
    'is not supported',
    'layers keep the media types that their base image gives them',
  ),
  'source-date-epoch': {
    refused: 'is an option of the build, not of an output',
    hint: 'use --source-date-epoch SECONDS',
  },
  buildinfo: { refused: BUILD_INFO },
  'buildinfo-attrs': { refused: BUILD_INFO },
  'inline-build-info': { refused: BUILD_INFO },
} as const satisfies KeyTable;

/**
 * What `compression=` (gzip where only the others are given), `compression-level=` and
 * `force-compression=` ask for.
 * @throws MbuildError USAGE.
 */
export function compressionOf(
  values: KeyValues<typeof COMPRESSION_KEYS>,
): CompressionSpec | undefined {
  const { compression, 'compression-level': level, 'force-compression': force } = values;
  if (compression === undefined && level === undefined && force === undefined) return undefined;
  const type = compression ?? 'gzip';
  if (type !== 'none' && (level ?? 0) > LEVELS[type])
    throw new MbuildError('USAGE', `${type} has no compression-level ${level}`, {
      hint: `the highest level is ${LEVELS[type]}`,
    });
  return { type, level, force };
}

/** How the image leaves. @throws MbuildError USAGE. */
export function formOf(
  values: Omit<KeyValues<typeof IMAGE_KEYS>, 'name'>,
  { annotations }: ReadContext,
): ImageForm {
  const oci = values['oci-mediatypes'];
  return {
    compression: compressionOf(values),
    mediaTypes: oci === undefined ? undefined : MEDIA_TYPES[`${oci}`],
    rewriteTimestamp: values['rewrite-timestamp'],
    attestationArtifact: values['oci-artifact'],
    annotations: annotations.length === 0 ? undefined : annotations,
  };
}

const MEDIA_TYPES = { true: 'oci', false: 'docker' } as const;

/** The names of `name=`, else those of `--tag`. @throws MbuildError REFERENCE_INVALID. */
export function namesOf(name: string | undefined, { names }: ReadContext): readonly string[] {
  return name === undefined ? names : splitCsv(name).map(readTag);
}

/** A name with a tag, in full. @throws MbuildError REFERENCE_INVALID. */
export function readTag(text: string): string {
  const reference = parseReference(text);
  if (reference !== undefined && reference.digest === undefined) return formatReference(reference);
  const isUpper = text !== text.toLowerCase() && parseReference(text.toLowerCase()) !== undefined;
  throw new MbuildError('REFERENCE_INVALID', `invalid tag ${JSON.stringify(text)}`, {
    hint: isUpper
      ? `write the repository in lower case: ${text.toLowerCase()}`
      : 'write [registry/]repository[:tag]',
  });
}

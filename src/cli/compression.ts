import type { CompressionSpec } from '../build';
import { didYouMean } from '../diagnostics/suggest';
import { usage } from './usage';

const LEVELS = { gzip: 9, zstd: 22 } as const;

/** `compression=` (gzip where only the others are given), `compression-level=` and `force-compression=` of an output or a cache. @throws MbuildError USAGE. */
export function readCompression(values: ReadonlyMap<string, string>): CompressionSpec | undefined {
  if (!['compression', 'compression-level', 'force-compression'].some((key) => values.has(key)))
    return undefined;
  const type = values.get('compression') ?? 'gzip';
  if (type !== 'gzip' && type !== 'zstd' && type !== 'uncompressed' && type !== 'none') {
    throw usage(
      `unknown compression ${JSON.stringify(type)}`,
      didYouMean(type, ['gzip', 'zstd', 'uncompressed']) ?? 'one of gzip, zstd, uncompressed',
    );
  }
  const level = values.get('compression-level');
  if (level !== undefined && !/^\d{1,2}$/.test(level))
    throw usage(`compression-level ${JSON.stringify(level)} is not a number`);
  if ((type === 'gzip' || type === 'zstd') && Number(level ?? 0) > LEVELS[type])
    throw usage(`${type} has no compression-level ${level}`, `levels go up to ${LEVELS[type]}`);
  return {
    type: type === 'uncompressed' ? 'none' : type,
    level: level === undefined ? undefined : Number(level),
    force: values.has('force-compression')
      ? isTrue('force-compression', values.get('force-compression'))
      : undefined,
  };
}

/** A field that is true or false. @throws MbuildError USAGE. */
export function isTrue(key: string, text: string | undefined): boolean {
  if (text === undefined || text === 'false' || text === '0') return false;
  if (text === 'true' || text === '1') return true;
  throw usage(`${key}=${text} is neither true nor false`);
}

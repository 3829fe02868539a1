import type { ImageSummary } from '../../api/results';
import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import type { Image } from '../../images/store/image-store';
import type { LayerIndex } from '../../images/store/layer-index';
import { chainIds, hexOf } from '../../oci/digest';
import { formatPlatform } from '../../oci/platform';
import { familiarRepository, parseReference } from '../../oci/reference';
import { humanSize } from '../../progress/units';
import type { ListRow, ListShape } from './list';
import { shortName } from '../services';
import { goTime, humanSince, parseTime } from './time';

/** What a listing of images shows of each. */
export interface ImagesOptions {
  readonly noTrunc: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** One `--filter`. */
export interface ImageFilter {
  readonly key: string;
  readonly value: string;
}

const FIELDS = {
  Repository: 'REPOSITORY',
  Tag: 'TAG',
  Digest: 'DIGEST',
  ID: 'IMAGE ID',
  CreatedSince: 'CREATED',
  CreatedAt: 'CREATED AT',
  Size: 'SIZE',
  Containers: 'CONTAINERS',
  SharedSize: 'SHARED SIZE',
  UniqueSize: 'UNIQUE SIZE',
  VirtualSize: 'SIZE',
} as const;

const NONE = '<none>';
export const IMAGE_FILTERS = [
  'dangling',
  'label',
  'before',
  'since',
  'reference',
  'until',
] as const;

/** `mbuild images`: with `--digests` a column more. */
export function imagesShape(digests: boolean): ListShape {
  return {
    fields: FIELDS,
    columns: ['Repository', 'Tag', ...(digests ? ['Digest'] : []), 'ID', 'CreatedSince', 'Size'],
  };
}

/** A row per name, or one for an image without any; the latest images first. */
export function imageRows(
  images: readonly Image[],
  layers: LayerIndex,
  options: ImagesOptions,
): ListRow[] {
  return latestFirst(images).flatMap((image) => {
    const bytes = imageSize(image, layers);
    const { created } = image.config;
    return namesOf(image).map(({ repository, tag, digest }): ListRow => ({
      Repository: repository,
      Tag: tag,
      Digest: digest,
      ID: shownId(image.id, options.noTrunc),
      CreatedSince: humanSince(created, options.now),
      CreatedAt: goTime(created),
      Size: humanSize(bytes, 3),
      Containers: 'N/A',
      SharedSize: 'N/A',
      UniqueSize: 'N/A',
      VirtualSize: humanSize(bytes),
    }));
  });
}

/** The id as it is listed: twelve characters, or all with `sha256:`. */
export function shownId(id: Image['id'], noTrunc: boolean): string {
  return noTrunc ? id : hexOf(id).slice(0, 12);
}

/** The bytes of the files of all layers. */
export function imageSize(image: Image, layers: LayerIndex): number {
  return chainIds(image.config.rootfs.diff_ids).reduce(
    (sum, chain) => sum + (layers.get(chain)?.contentSize ?? 0),
    0,
  );
}

/** What programs are told of images, the latest first. */
export function imageSummaries(images: readonly Image[], layers: LayerIndex): ImageSummary[] {
  return latestFirst(images).map((image) => ({
    id: image.id,
    names: image.names.map(shortName),
    repoDigests: image.repoDigests.map(shortName),
    created: image.config.created,
    size: imageSize(image, layers),
    platform: formatPlatform(image.config),
    labels: image.config.config?.Labels ?? {},
  }));
}

/** By time of creation, the latest first. */
export function latestFirst(images: readonly Image[]): Image[] {
  return [...images].sort(
    (a, b) => (parseTime(b.config.created) ?? 0) - (parseTime(a.config.created) ?? 0),
  );
}

/** Reads `key=value`. @throws MbuildError USAGE for a filter that docker does not know. */
export function parseImageFilter(text: string): ImageFilter {
  const at = text.indexOf('=');
  const key = (at < 0 ? text : text.slice(0, at)).trim().toLowerCase();
  if (at < 0)
    throw new MbuildError('USAGE', `invalid filter ${JSON.stringify(text)}: expected name=value`);
  if (!(IMAGE_FILTERS as readonly string[]).includes(key)) {
    throw new MbuildError('USAGE', `invalid filter '${key}'`, {
      hint: didYouMean(key, IMAGE_FILTERS) ?? `filters are ${IMAGE_FILTERS.join(', ')}`,
    });
  }
  return { key, value: text.slice(at + 1).trim() };
}

/**
 * The images that pass all filters; of several `reference` or `dangling` filters one suffices. An
 * image keeps only the names that the `reference` filters meet. `find` looks up the images that
 * `before` and `since` name.
 * @throws MbuildError USAGE, IMAGE_NOT_FOUND.
 */
export function filterImages(
  images: readonly Image[],
  filters: readonly ImageFilter[],
  find: (name: string) => Image | undefined,
  now: number,
): Image[] {
  const tests = filters
    .filter(({ key }) => key !== 'reference')
    .map((filter) => filterTest(filter, find, now));
  const patterns = filters
    .filter(({ key }) => key === 'reference')
    .map(({ value }) => referenceTest(value));
  return images
    .filter((image) => tests.every((test) => test(image)))
    .flatMap((image) => {
      if (patterns.length === 0) return [image];
      const names = image.names.filter((name) => patterns.some((test) => test(name)));
      return names.length === 0 ? [] : [{ ...image, names }];
    });
}

function filterTest(
  { key, value }: ImageFilter,
  find: (name: string) => Image | undefined,
  now: number,
): (image: Image) => boolean {
  const createdAt = (image: Image): number => parseTime(image.config.created) ?? 0;
  switch (key) {
    case 'dangling': {
      if (!['true', 'false', '1', '0'].includes(value))
        throw new MbuildError(
          'USAGE',
          `invalid filter 'dangling=${value}': neither true nor false`,
        );
      const wanted = value === 'true' || value === '1';
      return (image) => (image.names.length === 0) === wanted;
    }
    case 'label': {
      const at = value.indexOf('=');
      const name = at < 0 ? value : value.slice(0, at);
      return (image) => {
        const labels = image.config.config?.Labels ?? {};
        return Object.hasOwn(labels, name) && (at < 0 || labels[name] === value.slice(at + 1));
      };
    }
    case 'until': {
      const limit = untilTime(value, now);
      return (image) => createdAt(image) < limit;
    }
    default: {
      const other = find(value);
      if (other === undefined) throw new MbuildError('IMAGE_NOT_FOUND', `no such image: ${value}`);
      const limit = createdAt(other);
      return key === 'before'
        ? (image) => createdAt(image) < limit
        : (image) => createdAt(image) > limit;
    }
  }
}

/**
 * A time as docker takes it for `until`: RFC 3339, seconds since the epoch, or a duration back from
 * now (`24h`, `1h30m`).
 */
export function untilTime(text: string, now: number): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };
  if (/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) {
    let back = 0;
    for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g))
      back += Number(amount) * (units[unit ?? ''] ?? 0);
    return now - back;
  }
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new MbuildError(
      'USAGE',
      `invalid filter 'until=${text}': neither a time nor a duration`,
      { hint: 'write until=24h, or a time such as until=2026-01-31T12:00:00Z' },
    );
  return time;
}

/**
 * Tells which full names a pattern means: without a tag every tag of the repository; `*`, `?` and
 * `[…]` match inside a path component, as Go's path.Match does on the name as users write it.
 */
export function referenceTest(pattern: string): (name: string) => boolean {
  const matches = globTest(pattern);
  return (name) => {
    const reference = parseReference(name);
    if (reference === undefined) return matches(name);
    const repository = familiarRepository(reference);
    const candidates = [
      repository,
      `${repository}:${reference.tag ?? ''}`,
      name,
      `${reference.registry}/${reference.repository}`,
    ];
    return candidates.some(matches);
  };
}

function globTest(pattern: string): (text: string) => boolean {
  const source = pattern.replace(/\[[^\]]*\]|[\\^$.|+(){}*?[\]]/g, (part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part.length > 1) return part.replace(/^\[!/, '[^').replace(/\\/g, '\\\\');
    return `\\${part}`;
  });
  try {
    const expression = new RegExp(`^${source}$`);
    return (text) => expression.test(text);
  } catch {
    throw new MbuildError('USAGE', `invalid pattern ${JSON.stringify(pattern)}`);
  }
}

/**
 * The names and digests of an image as rows: `repository`, `tag`, `digest`, each `<none>` where
 * there is none.
 */
function namesOf(
  image: Image,
): { readonly repository: string; readonly tag: string; readonly digest: string }[] {
  const digests = new Map(
    image.repoDigests.map((text) => [
      text.slice(0, text.indexOf('@')),
      text.slice(text.indexOf('@') + 1),
    ]),
  );
  const rows = image.names.flatMap((name) => {
    const reference = parseReference(name);
    if (reference === undefined) return [];
    const digest =
      digests.get(`${reference.registry}/${reference.repository}`) ??
      digests.get(familiarRepository(reference)) ??
      reference.digest ??
      NONE;
    return [{ repository: familiarRepository(reference), tag: reference.tag ?? NONE, digest }];
  });
  if (rows.length > 0) return rows;
  const [first] = image.repoDigests;
  const reference = first === undefined ? undefined : parseReference(first);
  return [
    {
      repository: reference === undefined ? NONE : familiarRepository(reference),
      tag: NONE,
      digest: reference?.digest ?? NONE,
    },
  ];
}

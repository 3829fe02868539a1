import type { CacheRecord } from '../cache/record';
import type { Container } from '../containers/container';
import type { Engine } from '../engine';
import type { Image } from '../images/store/image-store';
import { uselessRecords } from './cache-limit';
import { filterImages, parseImageFilter } from './format/images';
import { parseTime } from './format/time';
import { labelTests, onlyPruneFilters, passes, untilOf } from './prune-filters';
import { lookUp } from './services';

/** What of the things that are not needed a prune is about. */
interface Selection {
  /** Also what has a name, or what images share. */
  readonly all: boolean;
  readonly filter: readonly string[];
}

/** Images that no container was made of: those without a name, or with `all` every one. */
export function unusedImages(
  { images }: Engine,
  { all, filter }: Selection,
  containers: readonly Container[],
  now: number,
): Image[] {
  const used = new Set(containers.map(({ record }) => record.image.id));
  const filters = filter
    .map((text) => onlyPruneFilters(text, ['label', 'label!', 'until']))
    .filter((text) => !text.startsWith('label!='));
  const without = labelTests(filter);
  const dangling = all ? [] : [{ key: 'dangling', value: 'true' }];
  return filterImages(
    images.list(),
    [...filters.map(parseImageFilter), ...dangling],
    (name) => lookUp({ images }, name),
    now,
  ).filter(
    (image) =>
      !used.has(image.id) &&
      without.every((hasLabel) => !hasLabel(image.config.config?.Labels ?? {})),
  );
}

/** Those that do not run and meet the filters `label`, `label!` and `until`. */
export function stoppedOf(
  containers: readonly Container[],
  filter: readonly string[],
  now: number,
): Container[] {
  return containers.filter(
    (container) => container.state.status !== 'running' && passes(container, filter, now),
  );
}

/** Records that no image but those that go stands on or no build finds (with `all` every one), and that meet the filters. */
export function unusedCache(
  services: Engine,
  { all, filter }: Selection,
  now: number,
  going?: readonly Image[],
): CacheRecord[] {
  const before = untilOf(filter, now);
  return (all ? services.cache.list() : uselessRecords(services, going)).filter(
    ({ created }) => (parseTime(created) ?? 0) < before,
  );
}

import type { Container } from '../containers/container';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { untilTime } from './format/images';
import { parseTime } from './format/time';

/**
 * What `--filter type=` of `builder prune` picks, by docker's names; of those that are not here a
 * store has none.
 */
export const TYPES = [
  'regular',
  'exec.cachemount',
  'source.git.checkout',
  'source.local',
  'frontend',
  'internal',
];

/** Tests for the labels that `label!=` filters exclude. */
export function labelTests(
  filter: readonly string[],
): ((labels: Readonly<Record<string, string>>) => boolean)[] {
  return filter
    .filter((text) => text.startsWith('label!='))
    .map((text) => {
      const [name = '', value] = text.slice('label!='.length).split(/=(.*)/s);
      return (labels) =>
        Object.hasOwn(labels, name) && (value === undefined || labels[name] === value);
    });
}

/** True for a container that meets the filters. */
export function passes({ record }: Container, filter: readonly string[], now: number): boolean {
  return filter.every((text) => {
    const [key, value = ''] = onlyPruneFilters(text, ['label', 'label!', 'until']).split(/=(.*)/s);
    if (key === 'until') return (parseTime(record.created) ?? 0) < untilTime(value, now);
    const [hasLabel] = labelTests([`label!=${value}`]);
    return hasLabel?.(record.labels) === (key === 'label');
  });
}

/** A filter of a known kind, as it is. @throws MbuildError USAGE. */
export function onlyPruneFilters(text: string, known: readonly string[]): string {
  const key = text.split('=')[0] ?? '';
  if (known.includes(key) && text.includes('=')) return text;
  throw new MbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
    hint: didYouMean(key, known) ?? `filters are ${known.join(', ')}, each with =VALUE`,
  });
}

/** Reads filters before anybody is asked. @throws MbuildError USAGE. */
export function checkFilters(
  filters: readonly string[],
  known: readonly string[],
  now: number,
): void {
  for (const text of filters) {
    const [key, value = ''] = onlyPruneFilters(text, known).split(/=(.*)/s);
    if (key === 'until') untilTime(value, now);
    if (key === 'type') readType(value);
  }
}

/** The value of `type=`. @throws MbuildError USAGE. */
export function readType(text: string): string {
  if (TYPES.includes(text)) return text;
  throw new MbuildError('USAGE', `unknown type ${JSON.stringify(text)} in --filter`, {
    hint: didYouMean(text, TYPES) ?? `types are ${TYPES.join(', ')}`,
  });
}

/** The time of `until=` filters, the earliest of several; milliseconds since the epoch. */
export function untilOf(filter: readonly string[], now: number): number {
  return Math.min(
    Infinity,
    ...filter.map((text) =>
      untilTime(onlyPruneFilters(text, ['until']).slice('until='.length), now),
    ),
  );
}

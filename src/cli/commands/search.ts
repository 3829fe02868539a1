import { MbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { DEFAULT_REGISTRY, parseReference } from '../../oci/reference';
import { ellipsis } from '../../progress/width';
import type { SearchHit } from '../../registry/registry';
import { defineCommand } from '../command';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { note } from '../host';
import { withServices } from '../services';

const SHAPE: ListShape = {
  fields: { Name: 'NAME', Description: 'DESCRIPTION', StarCount: 'STARS', IsOfficial: 'OFFICIAL' },
  columns: ['Name', 'Description', 'StarCount', 'IsOfficial'],
};
const FILTERS = ['stars', 'is-official', 'is-automated'];
const DESCRIPTION_WIDTH = 45;
const DEFAULT_LIMIT = 25;
const MOST = 100;

export const command = defineCommand({
  name: 'search',
  summary: 'Search Docker Hub, or another registry, for images',
  usage: ['[OPTIONS] TERM', '[OPTIONS] REGISTRY/TERM'],
  positionals: { min: 1, max: 1 },
  flags: {
    filter: {
      kind: 'list',
      short: 'f',
      value: 'NAME=VALUE',
      help: 'Only images with: stars, is-official',
    },
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    limit: {
      kind: 'number',
      value: 'N',
      help: `Show at most this many results (default: ${DEFAULT_LIMIT}, at most ${MOST})`,
    },
    'no-trunc': { kind: 'boolean', help: "Don't truncate output" },
  },
  run: ({ flags, positionals: [text = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const passes = flags.filter.map(readFilter);
      const limit = flags.limit ?? DEFAULT_LIMIT;
      if (limit < 1 || limit > MOST)
        throw new MbuildError('USAGE', `limit ${limit} is outside the range of [1, ${MOST}]`);
      const { registry, term } = readTerm(text);
      const { hits, source } = await services.registry.search(registry, term, limit, host.signal);
      if (source === 'catalog')
        note(
          host,
          `${registry} cannot search; these are the names in its catalog that contain ${JSON.stringify(term)}`,
        );
      const rows = hits
        .filter((hit) => passes.every((test) => test(hit)))
        .map((hit) => rowOf(hit, flags['no-trunc']));
      host.out.write(renderList(SHAPE, rows, flags.format));
      return 0;
    }),
});

/** A term for Docker Hub, or a registry's host and the term behind it. */
function readTerm(text: string): { readonly registry: string; readonly term: string } {
  const slash = text.indexOf('/');
  const host = slash < 0 ? text : text.slice(0, slash);
  if (!/[.:]/.test(host) && host !== 'localhost') return { registry: DEFAULT_REGISTRY, term: text };
  const term = slash < 0 ? '' : text.slice(slash + 1);
  const registry = parseReference(`${host}/x`)?.registry;
  if (registry === undefined)
    throw new MbuildError('REFERENCE_INVALID', `${host} is not a valid registry address`);
  return { registry, term };
}

function readFilter(text: string): (hit: SearchHit) => boolean {
  const [key = '', value = ''] = text.split(/=(.*)/s);
  if (!FILTERS.includes(key))
    throw new MbuildError('USAGE', `invalid filter ${JSON.stringify(text)}`, {
      hint: didYouMean(key, FILTERS) ?? 'filters are stars=N and is-official=true',
    });
  if (key === 'stars') {
    if (!/^\d+$/.test(value))
      throw new MbuildError('USAGE', `invalid filter 'stars=${value}': not a whole number`);
    return ({ stars }) => stars >= Number(value);
  }
  if (!['true', 'false', '1', '0'].includes(value))
    throw new MbuildError('USAGE', `invalid filter '${key}=${value}': neither true nor false`);
  const wanted = value === 'true' || value === '1';
  // Docker Hub has given up automated builds: nothing is one.
  return ({ official }) => (key === 'is-official' ? official : false) === wanted;
}

function rowOf({ name, description, stars, official }: SearchHit, whole: boolean): ListRow {
  const line = description.replace(/[\r\n]+/g, ' ');
  return {
    Name: name,
    Description: whole ? line : ellipsis(line, DESCRIPTION_WIDTH),
    StarCount: String(stars),
    IsOfficial: official ? '[OK]' : '',
  };
}

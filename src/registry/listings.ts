import { MbuildError } from '../diagnostics/error';
import { DEFAULT_REGISTRY } from '../oci/reference';
import { anything, flag, list, number, object, text } from '../oci/json';
import { failure } from './answers';
import { mediaTypeOf, parseAnswer } from './manifest-answer';
import type { Repository, SearchAnswer, SearchHit } from './registry';
import type { RegistrySession } from './session';
import { dismiss } from './transport';

const MAX_LISTING = 32 << 20;
const MAX_NAMES = 1_000_000;

/** A list that a registry has. */
interface Listing {
  /** Behind `/v2/`. */
  readonly path: string;
  readonly scopes: readonly string[];
  /** The member of the answer that is the list. */
  readonly member: 'tags' | 'repositories';
}

/** Tags and repositories of registries, and what is found among them by a word. */
export class Listings {
  constructor(private readonly session: RegistrySession) {}

  /** @returns `undefined` when there is no such repository. */
  tags(place: Repository, signal: AbortSignal): Promise<string[] | undefined> {
    const scopes = [`repository:${place.repository}:pull`];
    const path = `${place.repository}/tags/list`;
    return this.#read(place, { path, scopes, member: 'tags' }, signal);
  }

  async repositories(registry: string, signal: AbortSignal): Promise<string[]> {
    const listing: Listing = {
      path: '_catalog',
      scopes: ['registry:catalog:*'],
      member: 'repositories',
    };
    return (await this.#read({ registry, repository: '' }, listing, signal)) ?? [];
  }

  /** By Docker's search API v1, else out of the catalog. */
  async search(
    registry: string,
    term: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<SearchAnswer> {
    const query = new URLSearchParams({ q: term, n: String(limit) });
    const response = await this.session.search(registry, `/v1/search?${query.toString()}`, signal);
    if (response.status === 200 && mediaTypeOf(response) === 'application/json') {
      const bytes = await this.session.read(response, MAX_LISTING, signal);
      const { results = [] } = parseAnswer(bytes, { results: list(anything) });
      return { source: 'search', hits: results.flatMap(searchHit).slice(0, limit) };
    }
    if (registry === DEFAULT_REGISTRY) throw await failure(response, `searching for ${term}`);
    await dismiss(response);
    const names = (await this.repositories(registry, signal)).filter((name) =>
      name.includes(term.toLowerCase()),
    );
    const hits = names.slice(0, limit).map((name) => ({
      name: `${registry}/${name}`,
      description: '',
      stars: 0,
      official: false,
    }));
    return { source: 'catalog', hits };
  }

  /**
   * Pages are linked by `Link: <…>; rel="next"`. A list that is null is empty. Distribution-spec,
   * "Content Discovery".
   */
  async #read(
    repository: Repository,
    { path, scopes, member }: Listing,
    signal: AbortSignal,
  ): Promise<string[] | undefined> {
    const found: string[] = [];
    const seen = new Set<string>();
    let target: string | URL | undefined = path;
    while (target !== undefined && !seen.has(String(target))) {
      seen.add(String(target));
      const request = { method: 'GET', target, scopes } as const;
      const response = await this.session.call(repository, request, signal);
      if (response.status === 404) {
        await dismiss(response);
        return undefined;
      }
      if (response.status !== 200)
        throw await failure(response, `listing the ${member} of ${repository.registry}`);
      const bytes = await this.session.read(response, MAX_LISTING, signal);
      found.push(...(parseAnswer(bytes, PAGE)[member] ?? []));
      target = nextPage(response.headers.link, response.url);
      if (found.length > MAX_NAMES)
        throw new MbuildError(
          'LIMIT_EXCEEDED',
          `${repository.registry} lists more than a million ${member}`,
        );
    }
    return found;
  }
}

const PAGE = { tags: list(text), repositories: list(text) };

function nextPage(header: string | undefined, url: URL): URL | undefined {
  const next = /<([^>]+)>\s*;\s*rel="?next"?/i.exec(header ?? '')?.[1];
  return next !== undefined && URL.canParse(next, url.href) ? new URL(next, url) : undefined;
}

const HIT = object({ name: text, description: text, star_count: number, is_official: flag });

/** One result of the search API. */
function searchHit(result: unknown): SearchHit[] {
  const { name, description = '', star_count: stars = 0, is_official } = HIT(result, 'result');
  if (name === undefined) return [];
  return [{ name, description, stars, official: is_official === true }];
}

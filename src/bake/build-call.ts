import { MbuildError } from '../diagnostics/error';
import type { ResolvedTarget } from './select';
import type { Attributes, Entry } from './target';

/** A target as a call of `mbuild build`: its flags, and where its files come from. */
export interface BuildCall {
  /** Without the context. */
  readonly flags: readonly string[];
  readonly context: string;
  /** The text of the Dockerfile, where the bake file has it. */
  readonly inline: string | undefined;
}

/** What a context that is another target begins with, in the call. */
const LINK = 'target:';

/** The names of linked targets as images: {@link linkedTarget} finds them. */
export function linkedImage(target: string): string {
  return `docker-image://${LINK}${target.toLowerCase()}`;
}

/** The linked target that an image of FROM is, or nothing. */
export function linkedTarget(image: string, names: Iterable<string>): string | undefined {
  if (!image.startsWith(LINK)) return undefined;
  for (const name of names) if (image === LINK + name.toLowerCase()) return name;
  return undefined;
}

/**
 * The call that a target stands for. Every attribute is a flag of `mbuild build`, whose checks
 * count here, too.
 */
export function buildCall({ name, attributes, linked }: ResolvedTarget): BuildCall {
  refusePolicy(name, attributes);
  const {
    context = '.',
    dockerfile,
    'dockerfile-inline': inline,
    'shm-size': shmSize,
    'no-cache': noCache,
    pull,
    target,
    network,
  } = attributes;
  const flags = [
    ...(inline === undefined ? option('file', dockerfile) : []),
    ...pairs('build-arg', attributes.args),
    ...pairs('label', attributes.labels),
    ...pairs('add-host', attributes['extra-hosts']),
    ...pairs('build-context', contextsOf(attributes.contexts)),
    ...each('annotation', attributes.annotations),
    ...each('tag', linked ? [] : attributes.tags),
    ...each('platform', attributes.platforms),
    ...each('no-cache-filter', attributes['no-cache-filter']),
    ...each('ulimit', attributes.ulimits),
    ...each('allow', attributes.entitlements),
    ...each('attest', attributes.attest?.map(csv)),
    ...each('cache-from', attributes['cache-from']?.map(csv)),
    ...each('cache-to', attributes['cache-to']?.map(csv)),
    ...each('secret', attributes.secret?.map(csv)),
    ...each('ssh', attributes.ssh?.map(sshText)),
    ...each('output', linked ? [] : attributes.output?.map(csv)),
    ...pairs('resource', attributes.resources),
    ...option('target', target),
    ...option('network', network),
    ...option('shm-size', shmSize),
    ...(noCache === true ? ['--no-cache'] : []),
    ...(pull === true ? ['--pull'] : []),
  ];
  return { flags, context: context.replace(/^cwd:\/\//, '') || '.', inline };
}

/** What forbids something is never passed over. */
function refusePolicy(name: string, { policy = [] }: Attributes): void {
  if (policy.every(({ disabled }) => disabled === 'true')) return;
  throw new MbuildError('UNSUPPORTED', `target "${name}" has a policy, and bake evaluates none`, {
    hint: 'use EXPERIMENTAL_BUILDKIT_SOURCE_POLICY for rules about sources, or remove "policy"',
  });
}

function contextsOf(
  contexts: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  return new Map(
    [...contexts].map(([name, value]) => [
      name,
      value.startsWith(LINK)
        ? linkedImage(value.slice(LINK.length))
        : value.replace(/^cwd:\/\//, ''),
    ]),
  );
}

function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`--${name}=${value}`];
}

function each(name: string, values: readonly string[] = []): string[] {
  return values.map((value) => `--${name}=${value}`);
}

function pairs(name: string, values: ReadonlyMap<string, string> = new Map()): string[] {
  return [...values].map(([key, value]) => `--${name}=${key}=${value}`);
}

/** An entry as an option takes it, with quotation marks where a value has a comma. */
function csv(entry: Entry): string {
  return Object.entries(entry)
    .map(([name, value]) => quoted(`${name}=${String(value)}`))
    .join(',');
}

function quoted(field: string): string {
  return /[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

function sshText({ id, paths }: Entry): string {
  return paths === undefined ? String(id) : `${String(id)}=${[paths].flat().join(',')}`;
}

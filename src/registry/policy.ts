import { readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { homeDirectory } from '../linux/home';
import {
  JsonError,
  dictionary,
  list,
  object,
  parseJsonObject,
  text,
  type ReadObject,
} from '../oci/json';
import { familiarName, type Reference } from '../oci/reference';

/** Where an image comes from: containers-policy.json(5), "Transports and scopes". */
export type ImageOrigin =
  | { readonly transport: 'docker'; readonly ref: Reference }
  /** A file or a directory. */
  | { readonly transport: 'docker-archive' | 'oci-archive' | 'oci'; readonly file: string };

/** Decides about images before anything of them is used. @throws MbuildError NOT_ALLOWED. */
export type Admit = (origin: ImageOrigin) => Promise<void>;

/** Where the policy is looked for. */
export interface PolicyOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--signature-policy`: the only file that is read when given. */
  readonly file?: string | undefined;
}

const REQUIREMENTS = list(object({ type: text }));
/** Only what decides without a look at signatures is read. */
const POLICY = {
  default: REQUIREMENTS,
  transports: dictionary(dictionary(REQUIREMENTS)),
};

/** A policy, and the file that it stands in. */
interface Policy extends ReadObject<typeof POLICY> {
  readonly file: string;
}

/** The rule for one image. */
interface Rule {
  /** `default`, or `TRANSPORT/SCOPE`. */
  readonly name: string;
  readonly types: readonly string[];
}

const SWITCH = 'choose another policy with --signature-policy (MBUILD_SIGNATURE_POLICY)';

/**
 * Obeys the machine's policy.json as far as it decides by name: what it rejects is refused, and an
 * image whose own rule wants a signature is refused too, because mbuild does not check signatures.
 * Without a policy everything is let in. The file is read when the first image comes.
 */
export function policyOf(options: PolicyOptions): Admit {
  let read: Policy | 'none' | undefined;
  return async (origin) => {
    read ??= readPolicy(options) ?? 'none';
    if (read !== 'none') decide(origin, read);
  };
}

function decide(origin: ImageOrigin, policy: Policy): void {
  const rule = ruleFor(origin, policy);
  const what = origin.transport === 'docker' ? familiarName(origin.ref) : origin.file;
  if (rule.types.includes('reject'))
    throw new MbuildError(
      'NOT_ALLOWED',
      `${policy.file} rejects ${what}: its rule ${rule.name} says "reject"`,
      { hint: SWITCH },
    );
  const signed = rule.types.find((type) => type !== 'insecureAcceptAnything');
  if (signed !== undefined || rule.types.length === 0)
    throw new MbuildError(
      'NOT_ALLOWED',
      `${policy.file} has the rule ${rule.name} for ${what}, which mbuild cannot check: ${JSON.stringify(signed ?? 'no requirement')}`,
      { hint: SWITCH },
    );
}

/** The most specific scope that is listed; then the transport's own rule, then the default. */
function ruleFor(origin: ImageOrigin, policy: Policy): Rule {
  const { transports = {} } = policy;
  const own = transports[origin.transport] ?? {};
  const scopes = [...scopesOf(origin), ''];
  const scope = scopes.find((name) => Object.hasOwn(own, name));
  if (scope !== undefined)
    return {
      name: JSON.stringify(scope === '' ? origin.transport : `${origin.transport}/${scope}`),
      types: typesOf(own[scope]),
    };
  return { name: '"default"', types: typesOf(policy.default) };
}

function typesOf(requirements: ReturnType<typeof REQUIREMENTS> = []): string[] {
  return requirements.map(({ type = '' }) => type);
}

/**
 * `host/a/b:tag`, `host/a/b`, `host/a`, `host`, `*.domain` of the host's names; of directories each
 * above.
 */
function scopesOf(origin: ImageOrigin): string[] {
  if (origin.transport === 'oci') return directoriesOf(path.resolve(origin.file));
  if (origin.transport !== 'docker') return [];
  const { registry, repository, tag, digest } = origin.ref;
  const name = `${registry}/${repository}`;
  const exact = digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`;
  const parts = repository.split('/');
  const above = parts.map((_, i) => [registry, ...parts.slice(0, parts.length - i - 1)].join('/'));
  const labels = registry.replace(/:\d+$/, '').split('.');
  const wildcards = labels.slice(1).map((_, i) => `*.${labels.slice(i + 1).join('.')}`);
  return [exact, name, ...above, ...wildcards];
}

function directoriesOf(file: string): string[] {
  return file === '/' ? ['/'] : [file, ...directoriesOf(path.dirname(file))];
}

function readPolicy({ env, file }: PolicyOptions): Policy | undefined {
  if (file !== undefined) return parsePolicy(file, true);
  const home = homeDirectory(env);
  const own = home === undefined ? [] : [path.join(home, '.config', 'containers', 'policy.json')];
  for (const place of [...own, '/etc/containers/policy.json']) {
    const policy = parsePolicy(place, false);
    if (policy !== undefined) return policy;
  }
  return undefined;
}

/** @throws MbuildError USAGE: a policy that cannot be read forbids who knows what. */
function parsePolicy(file: string, isNamed: boolean): Policy | undefined {
  try {
    return { ...parseJsonObject(readFileSync(file), POLICY), file };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && !isNamed) return undefined;
    if (errnoOf(error) !== undefined)
      throw new MbuildError('USAGE', `cannot read the policy ${file} (${errnoOf(error)})`, {
        hint: SWITCH,
      });
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError('USAGE', `the policy ${file} cannot be used: it ${error.message}`, {
      hint: SWITCH,
    });
  }
}

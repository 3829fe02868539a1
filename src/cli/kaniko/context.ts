import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';

/** A context in kaniko's words. */
export interface KanikoContext {
  readonly context: string;
  readonly subPath: string | undefined;
  /** The value of `--git`. */
  readonly git: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const AZURE =
  /^https:\/\/[^/]+\.blob\.core\.(?:windows\.net|chinacloudapi\.cn|cloudapi\.de|usgovcloudapi\.net)\//;
const FORMS = 'contexts are a path, dir://, tar://, git:// and https://';

/** The last argument of `mbuild build` for a context of kaniko. @throws MbuildError USAGE, UNSUPPORTED. */
export function contextOf(given: KanikoContext): string {
  const { context, subPath } = given;
  if (AZURE.test(context)) throw cloud(context);
  const [, scheme, rest = ''] = /^([a-z0-9]+):\/\/(.*)$/s.exec(context) ?? [];
  switch (scheme) {
    case undefined:
      return directory(context, subPath);
    case 'dir':
      return directory(rest, subPath);
    case 'tar':
      return whole(rest === 'stdin' ? '-' : rest, subPath);
    case 'https':
      return whole(context, subPath);
    case 'git':
      return repository(rest, given);
    case 'gs':
    case 's3':
      throw cloud(context);
    default:
      throw new MbuildError('USAGE', `unknown form of --context: ${scheme}://`, { hint: FORMS });
  }
}

/** A relative path without `./` is a directory, and not a command. */
function directory(given: string, subPath = ''): string {
  return path.resolve(given, subPath);
}

function whole(given: string, subPath: string | undefined): string {
  if (subPath === undefined || subPath === '') return given;
  throw new MbuildError('UNSUPPORTED', '--context-sub-path of an archive is not supported', {
    hint: 'unpack it, and give the directory in it',
  });
}

/** `HOST/PATH[#REF[#COMMIT]]`, as kaniko fetches it: by https unless GIT_PULL_METHOD says otherwise. */
function repository(rest: string, { subPath, git, env }: KanikoContext): string {
  const [place = '', ref, commit] = rest.split('#');
  const branch = /(?:^|,)branch=([^,]*)/.exec(git ?? '')?.[1];
  const at = commit ?? ref ?? branch ?? '';
  const method = env['GIT_PULL_METHOD'] ?? 'https';
  const address = `${method}://${place.endsWith('.git') ? place : `${place}.git`}`;
  const within = subPath === undefined || subPath === '' ? '' : `:${subPath}`;
  return at === '' && within === '' ? address : `${address}#${at}${within}`;
}

function cloud(context: string): MbuildError {
  return new MbuildError('UNSUPPORTED', `mbuild does not read buckets: --context ${context}`, {
    hint: 'fetch the archive in a step before, and give its path, or an https:// address',
  });
}

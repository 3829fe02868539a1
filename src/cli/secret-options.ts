import type { SecretSource, SshSource } from '../build';
import { csvFields, splitCsv } from '../diagnostics/csv';
import { MbuildError } from '../diagnostics/error';
import { TEXT, oneOf, readKeys, type KeyTable } from '../diagnostics/structured-option';
import { usage } from './usage';

type Environment = Readonly<Record<string, string | undefined>>;

const SECRET_KEYS = {
  id: TEXT,
  src: TEXT,
  source: { alias: 'src' },
  env: TEXT,
  type: oneOf(['file', 'env']),
} as const satisfies KeyTable;
const FORM = 'write id=NAME[,src=FILE|,env=VARIABLE]';

/**
 * One `--secret`: `id=NAME[,src=FILE|,env=VARIABLE]`; with an id alone the variable of that name,
 * else the file. A variable that is not set is an empty secret, as docker has it.
 * @throws MbuildError USAGE.
 */
export function readSecret(text: string, env: Environment): SecretSource {
  const fields = csvFields(text);
  // The text may be the secret itself: it is in no message.
  if (fields.some(({ value }) => value === undefined))
    throw usage('a field of --secret is not key=value', FORM);
  const {
    id = '',
    src,
    env: variable,
    type,
  } = readKeys({ title: '--secret', keys: SECRET_KEYS }, fields);
  if (id === '') throw usage('--secret has no id', FORM);
  // buildx, "--secret": `type=env,src=NAME` names a variable.
  const named = variable ?? (type === 'env' ? (src ?? id) : undefined);
  if (named !== undefined) return { id, env: named };
  const isVariable = src === undefined && type !== 'file' && env[id] !== undefined;
  return isVariable ? { id, env: id } : { id, path: src ?? id };
}

/**
 * One `--ssh`: `default`, `ID=SOCKET` or `ID=KEY[,KEY]`; without a path the user's own agent.
 * @throws MbuildError SECRET_MISSING, USAGE.
 */
export function readSsh(text: string, env: Environment): SshSource {
  const [first = '', ...others] = splitCsv(text);
  const at = first.indexOf('=');
  const id = (at < 0 ? first : first.slice(0, at)) || 'default';
  if (at >= 0 && first.length > at + 1) return { id, paths: [first.slice(at + 1), ...others] };
  if (others.length > 0)
    throw usage(`--ssh ${text} has no path behind the id`, 'it is default|ID[=SOCKET|KEY[,KEY]]');
  const socket = env['SSH_AUTH_SOCK'];
  if (socket !== undefined && socket !== '') return { id, paths: [socket] };
  throw new MbuildError('SECRET_MISSING', `--ssh ${text}: SSH_AUTH_SOCK is not set`, {
    hint: 'start ssh-agent, or name its socket or a private key: --ssh default=PATH',
  });
}

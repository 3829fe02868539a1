import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { MbuildError } from '../../diagnostics/error';
import { DEFAULT_REGISTRY, parseReference } from '../../oci/reference';
import { defineCommand } from '../command';
import { note, type Host } from '../host';
import { readText } from '../stdin';

export const command = defineCommand({
  name: 'login',
  summary: 'Log in to a registry (default: Docker Hub)',
  usage: ['[OPTIONS] [SERVER]'],
  positionals: { min: 0, max: 1 },
  flags: {
    password: {
      kind: 'string',
      short: 'p',
      value: 'TEXT',
      help: 'Password or token; other users of this machine can see it on the command line',
    },
    'password-stdin': { kind: 'boolean', help: 'Take the password from standard input' },
    username: { kind: 'string', short: 'u', value: 'NAME', help: 'User name' },
  },
  run: async ({ flags, positionals: [server] }, host) => {
    const registry = registryOf(server);
    if (flags.offline)
      await new (await import('../../registry/offline')).OfflineRegistry().check(registry);
    if (flags['password-stdin'] && flags.password !== undefined)
      throw new MbuildError('USAGE', 'conflicting options: --password and --password-stdin');
    if (flags['password-stdin'] && flags.username === undefined)
      throw new MbuildError('USAGE', 'the --password-stdin option requires --username option');
    if (flags.password !== undefined)
      note(host, 'other users can see a password on the command line; use --password-stdin');
    const username = flags.username ?? (await ask('Username: ', host, false));
    const password = flags['password-stdin']
      ? (await readText(host.stdin())).replace(/\r?\n$/, '')
      : (flags.password ?? (await ask('Password: ', host, true)));
    if (username === '' || password === '')
      throw new MbuildError('USAGE', `${username === '' ? 'username' : 'password'} is empty`);
    const [{ RegistryClient }, { saveCredentials }] = await Promise.all([
      import('../../registry/client'),
      import('../../registry/login'),
    ]);
    const client = new RegistryClient({
      env: host.env,
      insecure: flags['insecure-registry'],
      credentials: { kind: 'password', username, password },
    });
    try {
      await client.check(registry, host.signal);
    } finally {
      await client.close();
    }
    const kept = await saveCredentials(
      registry,
      { username, password },
      { env: host.env, authFile: flags.authfile },
    );
    if (kept.kind === 'file')
      note(
        host,
        `the password is stored unencrypted in ${kept.path}; a credential helper stores it more safely`,
      );
    host.out.write('Login Succeeded\n');
    return 0;
  },
});

/** The host of a registry, as a user writes it. @throws MbuildError USAGE. */
export function registryOf(server: string | undefined): string {
  const text = (server ?? DEFAULT_REGISTRY)
    .replace(/^https?:\/\//, '')
    .replace(/\/(?:v[12]\/?)?$/, '');
  if (text === 'index.docker.io' || text === 'registry-1.docker.io' || text === DEFAULT_REGISTRY)
    return DEFAULT_REGISTRY;
  const slash = text.indexOf('/');
  // A host without a dot or a port reads as a repository elsewhere, but here a host is all that it
  // can be.
  const host = parseReference(`${/[.:]/.test(text) ? text : `${text}:1`}/x`)?.registry;
  if (slash >= 0 || host === undefined || host === DEFAULT_REGISTRY)
    throw new MbuildError('USAGE', `${JSON.stringify(text)} is not a valid registry address`);
  return text;
}

/** Asks a person. @throws MbuildError USAGE where there is none. */
async function ask(question: string, host: Host, hidden: boolean): Promise<string> {
  const input = host.stdin();
  if (!input.isTTY)
    throw new MbuildError('USAGE', 'cannot perform an interactive login from a non TTY device', {
      hint: 'use --username NAME --password-stdin',
    });
  host.err.write(question);
  await host.err.drain();
  // The terminal shows what is typed unless its raw mode is on, as it is while nothing but `muted`
  // is written to.
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, ...(hidden ? { output: muted, terminal: true } : {}) });
  try {
    return await lines.question('', { signal: host.signal });
  } finally {
    lines.close();
    if (hidden) host.err.write('\n');
  }
}

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { startAgent, type RunningAgent } from '../../src/ssh/agent';
import { readPrivateKey } from '../../src/ssh/private-key';
import { command } from '../support/command';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const KINDS = [
  ['ed25519', 256],
  ['rsa', 2048],
  ['ecdsa', 256],
  ['ecdsa', 384],
  ['ecdsa', 521],
] as const;
const FORMS = ['openssh', 'PEM', 'PKCS8'] as const;

describeWith('an agent for private keys', { programs: ['ssh-keygen', 'ssh-add'] }, () => {
  const temp = useTemp();
  let agent: RunningAgent | undefined;
  afterEach(() => agent?.close());

  it.each(
    KINDS.flatMap(([kind, bits]) =>
      FORMS.filter((form) => kind !== 'ed25519' || form === 'openssh').map(
        (form) => [kind, bits, form] as const,
      ),
    ),
  )('signs for OpenSSH with a key of %s, %d bits, as %s', async (kind, bits, form) => {
    const dir = temp.dir('keys');
    const file = makeKey(dir, kind, ['-b', String(bits), ...formArgs(form)]);
    const socket = join(dir, 's');
    agent = await startAgent(socket, [
      { ...readPrivateKey(readFileSync(file), 'key'), comment: 'mine' },
    ]);
    const env = { ...process.env, SSH_AUTH_SOCK: socket };

    const [publicKey = ''] = [readFileSync(`${file}.pub`, 'utf8').split(' ').slice(0, 2).join(' ')];
    const listed = await command('ssh-add', ['-L'], { env });
    expect(listed.stdout.trim()).toBe(`${publicKey} mine`);

    writeFileSync(join(dir, 'data'), 'to be signed');
    writeFileSync(join(dir, 'allowed'), `me ${publicKey}\n`);
    const signed = await command(
      'ssh-keygen',
      ['-Y', 'sign', '-f', `${file}.pub`, '-n', 'file', join(dir, 'data')],
      { env: { ...env, SSH_ASKPASS_REQUIRE: 'never' } },
    );
    expect([signed.code, signed.stderr]).toEqual([0, expect.any(String)]);
    const checked = spawnSync(
      'ssh-keygen',
      [
        '-Y',
        'verify',
        '-f',
        join(dir, 'allowed'),
        '-I',
        'me',
        '-n',
        'file',
        '-s',
        join(dir, 'data.sig'),
      ],
      { input: 'to be signed' },
    );
    expect(checked.status).toBe(0);
    // -T signs with each key and checks the signature, with SHA-2 of RSA too.
    expect((await command('ssh-add', ['-T', `${file}.pub`], { env })).code).toBe(0);
  });

  it('adds, removes and reveals no key', async () => {
    const dir = temp.dir('keys');
    const file = makeKey(dir, 'ed25519');
    const other = makeKey(temp.dir('other'), 'ed25519');
    const socket = join(dir, 's');
    agent = await startAgent(socket, [
      { ...readPrivateKey(readFileSync(file), 'key'), comment: '' },
    ]);
    const env = { ...process.env, SSH_AUTH_SOCK: socket };
    expect((await command('ssh-add', ['-D'], { env })).code).not.toBe(0);
    expect((await command('ssh-add', [other], { env })).code).not.toBe(0);
    expect((await command('ssh-add', ['-L'], { env })).stdout.trim().split('\n')).toHaveLength(1);
  });

  it('answers requests that are cut off with a failure, and ends at one that is too long', async () => {
    const socket = join(temp.dir('keys'), 's');
    agent = await startAgent(socket, []);
    expect(await answerTo(socket, Buffer.from([0, 0, 0, 3, 13, 0, 0]))).toEqual(
      Buffer.from([0, 0, 0, 1, 5]),
    );
    expect(await answerTo(socket, Buffer.from([0, 0, 0, 0]))).toEqual(Buffer.from([0, 0, 0, 1, 5]));
    expect(await answerTo(socket, Buffer.from([255, 0, 0, 0]))).toEqual(Buffer.alloc(0));
  });

  it('takes no key that has a passphrase, of another kind, or damaged', () => {
    const dir = temp.dir('keys');
    const closed = readFileSync(makeKey(dir, 'ed25519', ['-N', 'secret']));
    const closedPem = readFileSync(
      makeKey(temp.dir('pem'), 'rsa', ['-N', 'secret', '-m', 'PKCS8']),
    );
    for (const content of [closed, closedPem])
      expect(() => readPrivateKey(content, 'my key')).toThrow(
        'my key is protected by a passphrase',
      );
    const whole = readFileSync(makeKey(temp.dir('whole'), 'ed25519'), 'latin1');
    const half = whole.split('\n').toSpliced(2, 3).join('\n');
    for (const content of ['', 'PRIVATE', half])
      expect(() => readPrivateKey(Buffer.from(content), 'my key')).toThrow(
        'my key is not a private key that can be read',
      );
  });
});

function makeKey(dir: string, kind: string, args: readonly string[] = []): string {
  const file = join(dir, 'key');
  const passphrase = args.includes('-N') ? [] : ['-N', ''];
  execFileSync('ssh-keygen', ['-q', '-t', kind, '-f', file, '-C', '', ...passphrase, ...args]);
  return file;
}

function formArgs(form: (typeof FORMS)[number]): string[] {
  return form === 'openssh' ? [] : ['-m', form];
}

/** All that comes back, until a whole answer is there or the connection ends. */
function answerTo(socket: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const client = connect(socket);
    client.on('error', reject);
    client.on('close', () => resolve(Buffer.alloc(0)));
    client.on('data', (answer: Buffer) => {
      resolve(answer);
      client.destroy();
    });
    client.write(request);
  });
}

import { generateKeyPairSync } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('mounts of a RUN step', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Builds the given lines and returns what the last step wrote. */
  async function output(...lines: string[]): Promise<readonly string[]> {
    const { steps } = await mbuild.build([
      writeFiles(temp.dir('context'), { file: 'context\n', Dockerfile: [...lines, ''].join('\n') }),
    ]);
    return instructionSteps(steps).at(-1)?.log ?? [];
  }

  it('each show their own tree when there are several', async () => {
    expect(
      await output(
        'FROM small-base AS one',
        'RUN echo one > /file',
        'FROM small-base AS two',
        'RUN echo two > /file',
        'FROM small-base',
        'RUN --mount=target=/context --mount=from=one,target=/1 --mount=from=two,target=/2,rw cat /context/file /1/file /2/file',
      ),
    ).toEqual(['context', 'one', 'two']);
  });

  it('take private keys for SSH agents, which the step cannot read', async () => {
    const context = writeFiles(temp.dir('context'), {
      key: 'PRIVATE',
      '.dockerignore': '*',
      Dockerfile: [
        'FROM small-base',
        'RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && ! cat $SSH_AUTH_SOCK',
        'USER 1000:1000',
        'RUN --mount=type=ssh test -w $SSH_AUTH_SOCK',
        '',
      ].join('\n'),
    });
    const { code, stderr } = await mbuild.run([
      'build',
      '--ssh',
      `default=${context}/key`,
      context,
    ]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining(`${context}/key is not a private key that can be read`),
    ]);
    expect(stderr).not.toContain('PRIVATE');

    const { privateKey } = generateKeyPairSync('ed25519');
    writeFiles(context, { key: privateKey.export({ format: 'pem', type: 'pkcs8' }) });
    const temporary = temp.dir('temporary');
    const call = ['build', '--ssh', `default=${context}/key`, context];
    expect((await mbuild.run(call, { env: { TMPDIR: temporary } })).code).toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('may lie inside one another, in whatever order they are written', async () => {
    expect(
      await output(
        'FROM small-base',
        'RUN --mount=target=/t/context --mount=type=tmpfs,target=/t cat /t/context/file',
      ),
    ).toEqual(['context']);
    expect(
      await output(
        'FROM small-base',
        'RUN --mount=type=tmpfs,target=/t --mount=target=/t/deep/context --mount=source=file,target=/t/f cat /t/deep/context/file /t/f',
      ),
    ).toEqual(['context', 'context']);
  });

  it('set SSH_AUTH_SOCK to where the first agent would be, even if none is given', async () => {
    expect(
      await output(
        'FROM small-base',
        'RUN --mount=target=/m --mount=type=ssh --mount=type=ssh,id=other echo "$SSH_AUTH_SOCK"',
      ),
    ).toEqual(['/run/buildkit/ssh_agent.0']);
  });

  it('take a file into a directory that the image has', async () => {
    expect(
      await output(
        'FROM small-base',
        'WORKDIR /w/deep',
        'RUN --mount=source=file,target=file --mount=source=file,target=../other cat file ../other',
      ),
    ).toEqual(['context', 'context']);
    expect(
      await output(
        'FROM small-base',
        'WORKDIR /w/deep',
        'RUN --mount=source=file,target=file true',
        'RUN find /w',
      ),
    ).toEqual(['/w', '/w/deep']);
  });

  it('of memory can be read-only, and a secret that is not given leaves its variable empty', async () => {
    expect(
      await output(
        'FROM small-base',
        'RUN --mount=type=tmpfs,target=/t,ro touch /t/x 2>/dev/null || echo refused',
      ),
    ).toEqual(['refused']);
    expect(
      await output('FROM small-base', 'RUN --mount=type=secret,id=none,env=S echo "[${S-unset}]"'),
    ).toEqual(['[]']);
  });

  it('do not need the working directory to be there still', async () => {
    expect(await output('FROM small-base', 'WORKDIR /w', 'RUN rmdir /w', 'RUN pwd')).toEqual([
      '/w',
    ]);
  });
});

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

interface Entry {
  readonly mediaType: string;
  readonly digest: string;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Plan {
  readonly steps: readonly { readonly outcome: string; readonly why?: string }[];
}

describeWith('what a build is asked for', { root: true, programs: ['tar', 'python3'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  function context(dockerfile: string, files: Readonly<Record<string, string>> = {}): string {
    return writeFiles(temp.dir('context'), { Dockerfile: dockerfile, ...files });
  }

  describe('several targets', () => {
    const DOCKERFILE =
      'FROM small-base AS shared\nRUN date +%N > /when\nFROM shared AS one\nRUN echo one > /name\nFROM shared AS two\nRUN echo two > /name\nFROM small-base AS unused\nRUN false\n';

    it('are built in one run, share their work, and get their names in order', async () => {
      const { id, steps } = await mbuild.build([
        '--target',
        'one',
        '--target',
        'two',
        '-t',
        'first',
        '-t',
        'second',
        context(DOCKERFILE),
      ]);
      expect(instructionSteps(steps).filter(({ name }) => name.includes('date')).length).toBe(1);
      expect(steps.some(({ name }) => name.includes('false'))).toBe(false);
      const [first, second] = [await mbuild.inspect('first'), await mbuild.inspect('second')];
      expect(id.split('\n')).toEqual([first.Id, second.Id]);
      const shared = first.RootFS.Layers.length - 2;
      expect(first.RootFS.Layers.slice(0, shared + 1)).toEqual(
        second.RootFS.Layers.slice(0, shared + 1),
      );
      expect(first.RootFS.Layers.at(-1)).not.toBe(second.RootFS.Layers.at(-1));
    });

    it('need as many names, or none', async () => {
      const { code, stderr } = await mbuild.run([
        'build',
        '--target',
        'one',
        '--target',
        'two',
        '-t',
        'first',
        context(DOCKERFILE),
      ]);
      expect(code).toBe(125);
      expect(stderr).toContain('2 targets need 2 names, but 1 are given');
    });

    it('leave as a folder each, and as images of one archive', async () => {
      const out = join(temp.dir(), 'out');
      await mbuild.build([
        '--target',
        'one',
        '--target',
        'two',
        '--output',
        `type=local,dest=${out}`,
        context(DOCKERFILE),
      ]);
      expect([
        readFileSync(join(out, 'one/name'), 'utf8'),
        readFileSync(join(out, 'two/name'), 'utf8'),
      ]).toEqual(['one\n', 'two\n']);
      const layout = join(temp.dir(), 'layout');
      await mbuild.build([
        '--target',
        'one',
        '--target',
        'two',
        '-t',
        'a',
        '-t',
        'b',
        '--output',
        `type=oci,tar=false,dest=${layout}`,
        context(DOCKERFILE),
      ]);
      expect(
        indexOf(layout).map(({ annotations }) => annotations?.['io.containerd.image.name']),
      ).toEqual(['docker.io/library/a:latest', 'docker.io/library/b:latest']);
    });

    it('know their own name where the Dockerfile asks for it', async () => {
      const out = join(temp.dir(), 'out');
      await mbuild.build([
        '--target',
        'one',
        '--target',
        'two',
        '--output',
        `type=local,dest=${out}`,
        context(
          'FROM small-base AS base\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE > /t\nFROM base AS one\nFROM base AS two\n',
        ),
      ]);
      expect([
        readFileSync(join(out, 'one/t'), 'utf8'),
        readFileSync(join(out, 'two/t'), 'utf8'),
      ]).toEqual(['one\n', 'two\n']);
    });
  });

  describe('several platforms', () => {
    const DOCKERFILE =
      'FROM --platform=$BUILDPLATFORM small-base AS tools\nRUN date +%N > /made\nFROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY --from=tools /made /made\n';

    it('leave as one index, and stages of the build platform are run once', async () => {
      const layout = join(temp.dir(), 'layout');
      const { steps } = await mbuild.build([
        '--platform',
        'linux/amd64,linux/arm64',
        '-t',
        'multi',
        '--output',
        `type=oci,tar=false,dest=${layout}`,
        context(DOCKERFILE),
      ]);
      const made = instructionSteps(
        steps.map((step) => ({ ...step, name: step.name.replace(/^\[linux\/\S+ /, '[') })),
      ).filter(({ name }) => name.includes('date'));
      expect(made.map(({ cached }) => cached).sort()).toEqual([false, true]);
      const [top, ...others] = indexOf(layout);
      expect(others).toEqual([]);
      expect(top?.mediaType).toBe('application/vnd.oci.image.index.v1+json');
      expect(top?.annotations?.['org.opencontainers.image.ref.name']).toBe('latest');
      const inner = JSON.parse(blob(layout, top?.digest ?? '')) as { manifests: Entry[] };
      expect(inner.manifests.map(({ platform }) => platform?.architecture)).toEqual([
        'amd64',
        'arm64',
      ]);
      const configs = inner.manifests.map(
        ({ digest }) =>
          JSON.parse(
            blob(layout, (JSON.parse(blob(layout, digest)) as { config: Entry }).config.digest),
          ) as { architecture: string; config: { Env: string[] } },
      );
      expect(configs.map(({ architecture, config }) => [architecture, config.Env.at(-1)])).toEqual([
        ['amd64', 'ARCH=amd64'],
        ['arm64', 'ARCH=arm64'],
      ]);
      expect(
        (
          await mbuild.run([
            'build',
            '--platform',
            'linux/amd64,linux/arm64',
            '--output',
            'type=docker,dest=/dev/null',
            context(DOCKERFILE),
          ])
        ).stderr,
      ).toContain('cannot hold an image for several platforms');
    });

    it('count a step that they have in common once, in the plan and in the build', async () => {
      const dir = context(
        'FROM --platform=$BUILDPLATFORM small-base AS tools\nRUN sleep 0.1; echo once > /made\nRUN date +%N > /when\nFROM scratch\nARG TARGETARCH\nCOPY --from=tools /made /made-$TARGETARCH\n',
      );
      const args = ['--platform', 'linux/amd64,linux/arm64', dir];
      const plan = async (): Promise<Plan> =>
        JSON.parse(await mbuild.ok(['plan', '--format', 'json', ...args])) as Plan;
      const first = await plan();
      expect(first.steps.map(({ outcome }) => outcome)).toEqual([
        'miss',
        'may-hit',
        'may-hit',
        'same',
        'same',
        'may-hit',
      ]);
      expect(first.steps[3]?.why).toBe(
        'same as [linux/amd64 tools 2/3] RUN sleep 0.1; echo once > /made',
      );
      expect(first).toMatchObject({ hits: 0, misses: 4, untimed: 4 });
      const { stderr } = await mbuild.build(args);
      expect(stderr).toMatch(/^build \w+: 0 of 4 steps from the cache$/m);
      expect(stderr).toMatch(/^#\d+ same as \[linux\/a\S+ tools 2\/3\] RUN sleep/m);
      expect(await plan()).toMatchObject({ hits: 4, misses: 0, workSeconds: 0 });
      const again = await mbuild.build(args);
      expect(again.stderr).toMatch(/^build \w+: 4 of 4 steps from the cache, /m);
      expect(await mbuild.ok(['plan', '--no-cache', ...args])).toMatch(
        /tools 2\/3\] RUN sleep.*SAME +same as \[linux\/amd64 tools/,
      );
    });

    it('leave as a folder each', async () => {
      const out = join(temp.dir(), 'out');
      await mbuild.build([
        '--platform',
        'linux/amd64',
        '--platform',
        'linux/arm64',
        '--output',
        out,
        context(DOCKERFILE),
      ]);
      expect(readdirSync(out).sort()).toEqual(['linux_amd64', 'linux_arm64']);
      expect(existsSync(join(out, 'linux_arm64/made'))).toBe(true);
    });

    it('leave as a folder each of one tar, hard links within it', async () => {
      const linked = context(
        'FROM --platform=$BUILDPLATFORM small-base AS b\nRUN mkdir /l && echo x > /l/one && ln /l/one /l/two\nFROM scratch\nCOPY --from=b /l /l\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n',
      );
      const file = join(temp.dir(), 'both.tar');
      await mbuild.build([
        '--platform',
        'linux/amd64,linux/arm64',
        '--output',
        `type=tar,dest=${file}`,
        linked,
      ]);
      expect(execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).trim().split('\n')).toEqual(
        ['amd64', 'arm64'].flatMap((arch) =>
          ['', arch, 'l/', 'l/one', 'l/two'].map((name) => `linux_${arch}/${name}`),
        ),
      );
      const untarred = temp.dir('untarred');
      execFileSync('tar', ['-xf', file, '-C', untarred]);
      expect(readFileSync(join(untarred, 'linux_arm64/l/two'), 'utf8')).toBe('x\n');
    });

    it('are in the store under one name', async () => {
      await mbuild.build([
        '--platform',
        'linux/amd64,linux/arm64',
        '-t',
        'both',
        context(DOCKERFILE),
      ]);
      expect((await mbuild.inspect('both')).Architecture).toBe('amd64');
      const { stderr } = await mbuild.build([
        '--platform',
        'linux/arm64',
        '--pull=never',
        context('FROM both\nLABEL a=b\n'),
      ]);
      expect(stderr).not.toContain('ERROR');
    });
  });

  it('a step that this machine cannot run is refused before it begins, with the way out', async () => {
    const base = context('FROM scratch\nCOPY sh /bin/sh\n');
    // An executable for AArch64, as far as its header goes.
    const header = Buffer.alloc(4096);
    header.write('\x7fELF\x02\x01\x01', 'latin1');
    header.writeUInt16LE(2, 16);
    header.writeUInt16LE(183, 18);
    header.writeUInt32LE(1, 20);
    writeFileSync(join(base, 'sh'), header, { mode: 0o755 });
    await mbuild.build(['--platform', 'linux/arm64', '-t', 'foreign', base]);
    const { code, stderr } = await mbuild.run([
      'build',
      '--platform',
      'linux/arm64',
      '--pull=never',
      context('FROM foreign\nRUN true\n'),
    ]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/PLATFORM_UNSUPPORTED[\s\S]*binfmt/);
    expect(stderr).toContain('/bin/sh of the image is for arm64');
    expect(stderr).toContain('Dockerfile:2');
  });

  it('--add-host, --ulimit and --shm-size show in RUN, and are no part of its key', async () => {
    const dir = context(
      'FROM small-base\nRUN grep db.test /etc/hosts; ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1; cat /proc/self/limits | grep "Max core"\n',
    );
    const flags = [
      '--add-host',
      'db.test:10.1.2.3',
      '--add-host',
      'six.db.test=[::1]',
      '--ulimit',
      'nofile=512:600',
      '--ulimit',
      'core=0',
      '--shm-size',
      '3m',
    ];
    const { steps } = await mbuild.build([...flags, dir]);
    const log = instructionSteps(steps)
      .flatMap((step) => step.log)
      .join('\n');
    expect(log).toMatch(/10\.1\.2\.3\s+db\.test/);
    expect(log).toMatch(/::1\s+six\.db\.test/);
    expect(log).toMatch(/^512$/m);
    expect(log).toMatch(/^600$/m);
    expect(log).toMatch(/\s3072\s/);
    expect(log).toMatch(/Max core file size\s+0\s+0/);
    expect(instructionSteps((await mbuild.build([dir])).steps).every(({ cached }) => cached)).toBe(
      true,
    );
  });

  it('--build-arg-file gives arguments, which --build-arg overrides', async () => {
    const folder = writeFiles(temp.dir(), {
      'args.env': '# a comment\nONE=from file\n\nTWO=from=file\r\nHOME_ARG\n',
    });
    const { steps } = await mbuild.build([
      '--build-arg-file',
      join(folder, 'args.env'),
      '--build-arg',
      'ONE=from flag',
      context('FROM small-base\nARG ONE\nARG TWO\nRUN echo "<$ONE|$TWO>"\n'),
    ]);
    expect(instructionSteps(steps).flatMap((step) => step.log)).toContain('<from flag|from=file>');
    expect(
      (await mbuild.run(['build', '--build-arg-file', join(folder, 'nowhere'), folder])).code,
    ).toBe(125);
  });

  it('secrets by file and by variable reach the step, and nothing else', async () => {
    const SECRET = 'the-very-secret-word-8162';
    const store = new Mbuild(temp.dir('store'), { SECRET_VARIABLE: `${SECRET}-env` });
    await smallBase(store);
    const secrets = writeFiles(temp.dir(), { key: `${SECRET}-file` });
    const out = join(temp.dir(), 'image.tar');
    const dir = context(
      'FROM small-base\nRUN --mount=type=secret,id=key --mount=type=secret,id=word,env=WORD test "$(cat /run/secrets/key)" = "$(echo $WORD | sed s/-env/-file/)" && echo "${#WORD}" > /length\n',
    );
    const result = await store.run([
      'build',
      '--progress=plain',
      '--secret',
      `id=key,src=${join(secrets, 'key')}`,
      '--secret',
      'id=word,env=SECRET_VARIABLE',
      '-t',
      'kept',
      '--output',
      `type=docker,dest=${out}`,
      '--output',
      'type=image',
      '--metadata-file',
      join(secrets, 'metadata'),
      dir,
    ]);
    expect([result.code, result.stderr]).toEqual([0, expect.not.stringContaining(SECRET)]);
    expect(readFileSync(join(secrets, 'metadata'), 'utf8')).not.toContain(SECRET);
    const found = (folder: string): string => {
      try {
        return execFileSync('grep', ['-rlaF', SECRET, folder], { env: cleanEnv() }).toString();
      } catch {
        return '';
      }
    };
    expect(found(store.root)).toBe('');
    const unpacked = join(temp.dir(), 'image');
    mkdirSync(unpacked);
    execFileSync('tar', ['-xf', out, '-C', unpacked]);
    expect(found(unpacked)).toBe('');
    expect(found(secrets)).toContain('key');
  });

  function indexOf(layout: string): Entry[] {
    return (JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: Entry[] })
      .manifests;
  }

  function blob(layout: string, digest: string): string {
    return readFileSync(join(layout, 'blobs', digest.replace(':', '/')), 'utf8');
  }

  describeWith('a registry', { also: noRegistry }, () => {
    it('gets an index under the name, and gives each platform its image', async () => {
      const registry = await startRegistry();
      try {
        const dockerfile =
          'FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY Dockerfile /\n';
        await mbuild.build([
          '--platform',
          'linux/amd64,linux/arm64',
          '-t',
          `${registry.host}/multi:1`,
          '--push',
          context(dockerfile),
        ]);
        const other = new Mbuild(temp.dir('store'));
        for (const arch of ['amd64', 'arm64']) {
          await other.ok(['pull', '--platform', `linux/${arch}`, `${registry.host}/multi:1`]);
          const { stderr } = await other.build([
            '--platform',
            `linux/${arch}`,
            '--pull=never',
            '-t',
            `got-${arch}`,
            context(`FROM ${registry.host}/multi:1\nLABEL more=1\n`),
          ]);
          expect(stderr).not.toContain('ERROR');
          expect((await other.inspect(`got-${arch}`)).Config.Labels?.['arch']).toBe(arch);
        }
      } finally {
        await registry.stop();
      }
    });
  });
});

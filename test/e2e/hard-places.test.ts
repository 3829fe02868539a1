import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, type CommandResult } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const temp = useTemp();

describeWith('a store with entries that cannot be read', { root: true }, () => {
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\nLABEL a=b\n' });
    await mbuild.ok(['build', '-q', '-t', 'sound', context]);
    const id = await mbuild.ok(['build', '-q', '-t', 'broken', '--label', 'c=d', context]);
    await mbuild.ok(['create', '--name', 'first', 'small-base', 'true']);
    const container = await mbuild.ok(['create', '--name', 'second', 'small-base', 'true']);
    const [project = ''] = readdirSync(join(mbuild.root, 'builds'));
    const [build = ''] = readdirSync(join(mbuild.root, 'builds', project));
    for (const file of [
      join('images', `${id.slice(7)}.json`),
      join('containers', container, 'config.json'),
      join('builds', project, build),
    ])
      writeFileSync(join(mbuild.root, file), '{');
  });

  test.each([
    [['images'], /sound/, /image \w{12} cannot be read and is left out/],
    [['ps', '-a'], /first/, /container \w{64} cannot be read and is left out/],
    [['builds'], /Dockerfile/, /build \w+ cannot be read and is left out/],
    [['system', 'df', '-v'], /sound/, /container \w{64} cannot be read[^]*image \w{12} cannot/],
    [['container', 'prune', '--dry-run'], /Would delete/, /container \w{64} cannot be read/],
    [['image', 'prune', '--dry-run'], /Total/, /container \w{64} cannot be read/],
    [['prune', '--dry-run'], /Total/, /container \w{64} cannot be read/],
  ])('%j shows the rest, and names what it left out', async (line, shown, named) => {
    const { code, stdout, stderr } = await mbuild.run(line);
    expect(code).toBe(0);
    expect(stdout).toMatch(shown);
    expect(stderr).toMatch(named);
  });

  test('keeps the layers that a container needs which cannot be read', async () => {
    expect((await mbuild.run(['prune', '-f'])).code).toBe(0);
    expect(await mbuild.ok(['run', '--rm', 'small-base', 'echo', 'there'])).toBe('there');
    const { stdout } = await mbuild.run(['system', 'check']);
    expect(stdout).toMatch(/container \w{64} cannot be read/);
  });
});

describeWith('a store that is read-only', { root: true, programs: ['unshare'] }, () => {
  test('serves all that reads', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo x > /x\n',
    });
    await mbuild.ok(['build', '-q', '-t', 'a', context]);
    const lines = [
      'images',
      'inspect a',
      'history a',
      'system df -v',
      'builds',
      'explain',
      'ps -a',
      'cache ls',
      'cache du',
      'cache-mount ls',
      'image waste a',
      'image diff small-base a',
      'save -o /dev/null a',
      'report',
      `plan ${context}`,
      `build --check ${context}`,
      'prune --dry-run',
    ];
    const { root } = mbuild;
    const { stdout } = await command(
      'unshare',
      [
        '-m',
        'sh',
        '-c',
        `mount --bind ${root} ${root} && mount -o remount,bind,ro ${root} || exit 1
         ${lines.map((line) => `${MBUILD} ${line} >/dev/null 2>"$TMPDIR/said" || { echo "${line}:"; cat "$TMPDIR/said"; }`).join('\n')}
         echo done`,
      ],
      { env: cleanEnv({ MBUILD_ROOT: root }) },
    );
    expect(stdout).toBe('done\n');
  }, 300_000);
});

describeWith('64 open files', { root: true }, () => {
  test('are enough for COPY and lists; RUN says what it needs', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const few = (line: string): Promise<CommandResult> =>
      command('sh', ['-c', `ulimit -n 64; exec ${MBUILD} ${line}`], {
        env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
      });
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nCOPY . /c\n',
      Run: 'FROM small-base\nRUN true\n',
      ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, `${i}`])),
    });
    expect(await few(`build -q ${context}`)).toMatchObject({ code: 0, stderr: '' });
    expect(await few('images')).toMatchObject({ code: 0, stderr: '' });
    const run = await few(`build -q -f ${context}/Run ${context}`);
    if (run.code !== 0)
      expect(run.stderr).toContain(
        "RUN needs about 256 open files: allow them with 'ulimit -n 256'",
      );
  });
});

describeWith('a step that another build is doing', { root: true }, () => {
  test('is waited for, and the wait is told after two seconds', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN sleep 6; echo once > /once\n',
    });
    let started: (() => void) | undefined;
    const running = new Promise<void>((resolve) => {
      started = resolve;
    });
    const first = mbuild.run(['build', '--progress', 'plain', context], {
      onStderr: (text) => {
        if (text.includes('RUN sleep')) started?.();
      },
    });
    await running;
    const second = await mbuild.run(['build', '--progress', 'plain', context]);
    expect(second.code).toBe(0);
    const [, build] = /\nbuild (\w+):/.exec((await first).stderr) ?? [];
    expect(second.stderr).toMatch(
      new RegExp(`waits for build ${build} \\(process \\d+\\), which is doing the same step`),
    );
  }, 60_000);
});

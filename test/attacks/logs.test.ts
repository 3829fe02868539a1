import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

const SECRET = 'hunter2-is-the-word';
const KEY = [
  '-----BEGIN KEY-----',
  'MIIEowIBAAKCAQEA7bq',
  'q8vT0cO9mZ3aLw',
  '-----END KEY-----',
  '',
].join('\n');

/**
 * What is shown and kept of what steps print: no secret of the build, and nothing that gives orders
 * to who reads it.
 */
describeWith('mbuild withstands', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  const context = (...lines: readonly string[]): string =>
    writeFiles(temp.dir('context'), { Dockerfile: ['FROM small-base', ...lines, ''].join('\n') });
  const given = (): string[] => {
    const file = join(temp.dir('secret'), 'key');
    writeFileSync(file, KEY);
    return ['--secret', 'id=word,env=WORD', '--secret', `id=key,src=${file}`];
  };
  const env = { WORD: SECRET };
  const mounts = '--mount=type=secret,id=word,env=WORD --mount=type=secret,id=key';

  test.each(['plain', 'rawjson', 'tty'])(
    'attack 21: a step prints its secrets, whole and in pieces: --progress=%s',
    async (progress) => {
      const dir = context(
        `RUN ${mounts} echo "<$WORD>"; printf $(echo "$WORD" | cut -c1-7); sleep 0.1; echo "$WORD" | cut -c8-; echo "x$WORD" >&2; cat /run/secrets/key; echo last; [ ! -e /fail ]`,
        'RUN echo 2',
      );
      const { stdout, stderr, code } = await mbuild.run(
        ['build', '--no-cache', `--progress=${progress}`, ...given(), dir],
        { env },
      );
      expect(code).toBe(0);
      expect(`${stdout}${stderr}`).not.toMatch(/hunter2|is-the-word|MIIEow|q8vT0c/);
      if (progress !== 'tty') expect(stderr).toMatch(/<\*\*\*>.*\*\*\*.*last/s);
    },
  );

  test('attack 21: a step that fails prints its secrets: neither the error, the log nor the report has them', async () => {
    const dir = context(`RUN ${mounts} echo "<$WORD>" >&2; cat /run/secrets/key; exit 3`);
    const report = join(temp.dir('report'), 'build.html');
    const { stderr, code } = await mbuild.run(['build', '--progress=plain', ...given(), dir], {
      env,
    });
    await mbuild.ok(['report', '-o', report]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('<***>')]);
    const log = await mbuild.ok(['logs', (await mbuild.ok(['builds', '-q'])).split('\n')[0] ?? '']);
    expect(log).toContain('<***>');
    expect(`${stderr}${log}${readFileSync(report, 'utf8')}`).not.toMatch(/hunter2|MIIEow|q8vT0c/);
    const logs = execFileSync('find', [join(mbuild.root, 'builds'), '-name', '*.gz'])
      .toString()
      .trim()
      .split('\n');
    expect(logs.map((file) => spawnSync('zgrep', ['-c', 'hunter2\\|MIIEow', file]).status)).toEqual(
      logs.map(() => 1),
    );
  });

  test('attack 21: a secret that an earlier build left in a layer is printed by a step without secrets', async () => {
    const leak = `RUN ${mounts} echo $WORD > /leak`;
    await mbuild.ok(['build', '--progress=plain', ...given(), context(leak)], { env });
    const { stderr } = await mbuild.run(
      ['build', '--progress=plain', ...given(), context(leak, 'RUN cat /leak')],
      { env },
    );
    expect(stderr).toMatch(/CACHED/);
    expect(stderr).toMatch(/\*\*\*/);
    expect(stderr).not.toContain(SECRET);
  });

  test.each([
    [
      'a file',
      `mkdir -p /a/b && cp /run/secrets/key /a/b/k && echo "x=$WORD" > /.npmrc`,
      ['the secret key, in /a/b/k', 'the secret word, in /.npmrc'],
    ],
    [
      'the middle of a large file',
      `head -c 3000000 /dev/zero > /big; echo "$WORD" >> /big; head -c 100000 /dev/zero >> /big`,
      ['the secret word, in /big'],
    ],
    [
      'the seam of two chunks',
      `head -c 1048060 /dev/zero > /big; echo "$WORD" >> /big; head -c 100000 /dev/zero >> /big`,
      ['the secret word, in /big'],
    ],
    ['a name', 'touch "/$WORD"', ['the secret word, in /***']],
    ['the target of a link', 'ln -s "$WORD" /link', ['the secret word, in /link']],
  ])(
    'attack 21: a secret is left in %s of the layer, and the build warns of it',
    async (_, command, places) => {
      const { stderr, code } = await mbuild.run(
        [
          'build',
          '--no-cache',
          '--progress=plain',
          ...given(),
          context(`RUN ${mounts} ${command}`),
        ],
        { env },
      );
      expect(code).toBe(0);
      for (const place of places)
        expect(stderr).toContain(`SecretInLayer: the layer of this step holds ${place}`);
      expect(stderr).not.toContain(SECRET);
    },
  );

  test('attack 21: a step that keeps its secret for itself is not warned of', async () => {
    const { stderr } = await mbuild.run(
      [
        'build',
        '--no-cache',
        '--progress=plain',
        ...given(),
        context(`RUN ${mounts} echo $WORD | wc -c > /length`),
      ],
      { env },
    );
    expect(stderr).not.toContain('SecretInLayer');
  });

  const HOSTILE =
    "printf '\\033]52;c;ZXZpbA==\\007\\033[2Jx\\n::set-env name=A::b\\n##[error]no\\n<script>alert(1)</script>\\n'";
  const CONTROL = /[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/;

  test('attack 23: names, labels and the history of an image hold escapes', async () => {
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base\nLABEL a="\x1b[2Jx" "\x1b]0;t\x07"=b\nRUN echo "\x1b[31m" > /\x1bname\n',
    });
    await mbuild.ok(['build', '-t', 'escapes', dir]);
    const shown = await Promise.all(
      [
        ['history', '--no-trunc', 'escapes'],
        ['inspect', 'escapes'],
        ['images'],
        ['builds'],
        ['explain'],
        ['cache', 'ls'],
      ].map((args) => mbuild.ok(args)),
    );
    expect(shown.filter((text) => CONTROL.test(text))).toEqual([]);
  });

  test('attack 23: what a step prints gives orders to GitHub, to a terminal or to a page', async () => {
    const report = join(temp.dir('report'), 'build.html');
    const { stderr } = await mbuild.run(
      [
        'build',
        '--no-cache',
        '--progress=plain',
        context(`RUN ${HOSTILE}`, `RUN ${HOSTILE}; exit 1`),
      ],
      { env: { GITHUB_ACTIONS: 'true' } },
    );
    await mbuild.ok(['report', '-o', report]);
    expect(
      stderr.split('\n').filter((line) => /^::(?!error|warning|group|endgroup)|##\[/.test(line)),
    ).toEqual([]);
    expect(stderr).not.toMatch(CONTROL);
    expect(readFileSync(report, 'utf8')).not.toMatch(/<script>alert|\x1b/);
    expect(
      await mbuild.ok(['logs', (await mbuild.ok(['builds', '-q'])).split('\n')[0] ?? '']),
    ).not.toMatch(CONTROL);
  });

  if (findProgram('script') !== undefined)
    test('attack 23: the log of one step is shown on a terminal', async () => {
      await mbuild.ok(['build', '--no-cache', context(`RUN ${HOSTILE}`)]);
      const [id = ''] = (await mbuild.ok(['builds', '-q'])).split('\n');
      const bytes = await mbuild.ok(['logs', id, '1']);
      expect(bytes).toContain('\x1b[2J');
      const shown = execFileSync('script', [
        '-qec',
        `${join(__dirname, '../../bin/mbuild')} --root ${mbuild.root} logs ${id} 1`,
        '/dev/null',
      ]).toString();
      expect(shown).toContain('set-env');
      expect(shown).not.toMatch(/\x1b\[2J|\x1b\]52/);
    });

  if (findProgram('script') !== undefined)
    test('attack 23: paths, labels and templates with escapes are shown on a terminal', async () => {
      const name = `$(printf 'a\\033[2J')" "$(printf 'b\\302\\2332J')" "$(printf 'c\\rd\\342\\200\\256')`;
      await mbuild.ok(['build', '-t', 'shown', context(`RUN mkdir "/${name}"`)]);
      const id = await mbuild.ok([
        'run',
        '-d',
        '--label',
        'x=\x1b]0;t\x07',
        'shown',
        'sleep',
        '1000',
      ]);
      try {
        await mbuild.ok(['exec', id, 'touch', '/new\x1b[2J']);
        for (const command of [
          'image diff small-base shown',
          'image diff --format json small-base shown',
          `diff ${id}`,
          "ps --format '{{.Labels}}'",
          `inspect ${id}`,
        ]) {
          const shown = execFileSync('script', [
            '-qec',
            `${join(__dirname, '../../bin/mbuild')} --root ${mbuild.root} ${command}`,
            '/dev/null',
          ]).toString();
          expect(shown.replace(/\r+\n/g, '\n')).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]/);
          expect(shown).toMatch(/\u241b|\\u001b/);
        }
      } finally {
        await mbuild.ok(['rm', '-f', id]);
      }
    });

  test('attack 25: a log of many megabytes is kept whole', async () => {
    const { code } = await mbuild.run([
      'build',
      '--no-cache',
      '--progress=quiet',
      context('RUN yes 0123456789012345678901234567890123456789 | head -c 20000000'),
    ]);
    expect(code).toBe(0);
    const [id = ''] = (await mbuild.ok(['builds', '-q'])).split('\n');
    expect(Buffer.byteLength(await mbuild.ok(['logs', id, '1']))).toBe(20_000_000);
  });
});

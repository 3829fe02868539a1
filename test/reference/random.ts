import fc from 'fast-check';
import type { ReferenceCase } from './cases';

/** A context with a file of each kind that instructions tell apart. */
const SETUP = `
mkdir -p a/sub/deep b e 'sp ace'
echo 1 > a/f1; echo 2 > a/f2.txt; echo 3 > a/sub/g.txt; echo 4 > a/sub/.hid; echo 5 > a/sub/deep/h; echo 6 > b/f1; echo 7 > 'sp ace/i'; : > b/empty; echo 8 > z.md
ln -s f1 b/link; ln -s ../a b/dlink; ln -s /a/f1 b/abs; ln -s nowhere b/dangling; echo 9 > b/h1; ln b/h1 b/h2; printf '#!/bin/sh\\necho x\\n' > x.sh
chmod 755 x.sh; chmod 4711 b/f1; chmod 1777 e; chmod 700 a/sub; chmod 600 a/f1; chown 5:6 a/f2.txt
tar -C a -cf t.tar .; tar -C b -czf t.tgz .
`;

const pick = (...values: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...values);
const maybe = (text: fc.Arbitrary<string>, weight = 1, of = 2): fc.Arbitrary<string> =>
  fc.oneof({ arbitrary: text, weight }, { arbitrary: fc.constant(''), weight: of - weight });
const joined = (parts: readonly (fc.Arbitrary<string> | string)[]): fc.Arbitrary<string> =>
  fc
    .tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part)))
    .map((texts) => texts.join(''));
const several = (
  text: fc.Arbitrary<string>,
  minLength: number,
  maxLength: number,
  separator = ' ',
): fc.Arbitrary<string> =>
  fc.array(text, { minLength, maxLength }).map((texts) => texts.join(separator));

const variable = pick('A', 'B', 'C', 'PATH', 'HOME', 'TARGETARCH', 'none', 'G');
const reference = fc.oneof(
  variable.map((name) => `$${name}`),
  variable.map((name) => `\${${name}}`),
  joined([
    '${',
    variable,
    pick(':-', '-', ':+', '+'),
    pick('', 'w', '$A', '${B}', '"q"', "'$A'", 'a b'.replace(' ', '_')),
    '}',
  ]),
  joined(['${', variable, pick('#', '##', '%', '%%'), pick('*', 'v', '?', '*/', '/*', '$A'), '}']),
  joined([
    '${',
    variable,
    pick('/', '//'),
    pick('v', '*', '?', '\\/', 'a'),
    '/',
    pick('', 'r', '$A', '/'),
    '}',
  ]),
);
const wordPart = fc.oneof(
  {
    arbitrary: pick(
      'v1',
      'x',
      '/p/q',
      'w.x',
      'ü',
      '=',
      ':',
      '-',
      '#',
      '*',
      '\\$A',
      '\\\\',
      "\\'",
      '\\"',
      '\\x',
      '{',
      '}',
      '[1]',
      '%',
      '~',
      '|',
      '&',
      '<',
    ),
    weight: 4,
  },
  { arbitrary: reference, weight: 3 },
  {
    arbitrary: pick(
      '"q r"',
      "'s $A t'",
      '"$A $B"',
      '"\\$A"',
      "''",
      '""',
      '"a\'b"',
      "'c\"d'",
      '\\ ',
    ),
    weight: 2,
  },
);
const word = several(wordPart, 1, 3, '');
const plainPath = pick(
  '/o',
  '/o/p',
  '/o/p/q',
  '/o/n',
  '/w',
  '/w/x',
  '/l',
  '/d',
  '/t/u',
  '/etc/x',
  '/bin/y',
  '/srv',
);
const givenPath = fc.oneof(
  { arbitrary: plainPath, weight: 6 },
  {
    arbitrary: pick(
      '.',
      './',
      'r',
      'r/s',
      './r/',
      '../r',
      '/',
      '/o/../n/',
      '/o/./p//q',
      '$A/x',
      '/o/${A:-d}/',
      '/l/in',
      '${none}/k',
    ),
    weight: 3,
  },
);
const directory = fc.oneof(
  { arbitrary: givenPath.map((path) => `${path.replace(/\/$/, '')}/`), weight: 3 },
  { arbitrary: givenPath, weight: 1 },
);
const source = fc.oneof(
  {
    arbitrary: pick(
      'a',
      'a/',
      'a/f1',
      'a/f2.txt',
      'a/sub',
      'b',
      'b/f1',
      'e',
      'x.sh',
      'b/h1',
      'b/h2',
      'z.md',
      '.',
    ),
    weight: 5,
  },
  {
    arbitrary: pick(
      'a/*',
      '*/f1',
      'b/[fh]*',
      '?.sh',
      'a/sub/./deep',
      'b/link',
      'b/dlink',
      'b/dlink/f1',
      './a/',
      '/a/sub/',
      'a/../b',
      '*.md',
      'a*',
      'b/?1',
      'nomatch*',
      'a/**',
      'b/dlink/',
    ),
    weight: 3,
  },
  { arbitrary: pick('missing*', 'b/abs', 'a/${none}f1', 'a/f1/', 'z.*'), weight: 1 },
);
const owner = pick(
  '0',
  '5:6',
  'www-data',
  'nobody:users',
  '7',
  '0:0',
  ':9',
  'nobody',
  'root:users',
);
const mode = pick(
  '755',
  '0640',
  '4755',
  'u+x',
  'go-rwx',
  'a+rX',
  'u=rwX,go=rX',
  '1777',
  '+x',
  'g+s',
  '0',
);
const exclude = pick('*.txt', 'sub', '**/g.txt', 'f1', '*', '**/.hid', 'a/f1', '!f1', 'sub/deep');

const copyFlags = several(
  fc.oneof(
    { arbitrary: owner.map((value) => `--chown=${value} `), weight: 2 },
    { arbitrary: mode.map((value) => `--chmod=${value} `), weight: 2 },
    { arbitrary: exclude.map((value) => `--exclude=${value} `), weight: 2 },
    { arbitrary: pick('--link=false '), weight: 1 },
  ),
  0,
  2,
  '',
).map(unique);

/** A flag may stand once, but for `--exclude`. */
function unique(flags: string): string {
  const names = new Set<string>();
  return flags
    .split(' ')
    .filter((flag) => {
      const name = flag.split('=')[0] ?? '';
      return (
        flag !== '' && (name === '--exclude' || !names.has(name)) && names.add(name) !== undefined
      );
    })
    .map((flag) => `${flag} `)
    .join('');
}

/**
 * Commands that leave the same whoever runs them, and whose files are not read before they are
 * whole.
 */
const command = fc.oneof(
  joined(['mkdir -p ', maybe(joined(['-m ', pick('700', '1777', '755'), ' '])), plainPath]),
  joined(['echo ', pick('1', '22', '$A', '"$B"', "'$C'"), ' > ', plainPath]),
  joined(['rm -rf ', plainPath]),
  joined(['mkdir -p ', plainPath, '; echo c > ', plainPath, '/c']),
  joined(['mv ', plainPath, ' ', plainPath]),
  joined(['ln -s ', givenPath, ' ', plainPath]),
  joined(['ln ', plainPath, ' ', plainPath]),
  joined(['chmod ', pick('600', '2755', 'a+x'), ' ', plainPath]),
  joined(['chown ', pick('5:6', 'nobody', '0:9'), ' ', plainPath]),
  joined(['cp -a ', plainPath, ' ', plainPath]),
  joined(['pwd > ', plainPath]),
  joined(['id > ', plainPath]),
  joined(['env | sort | grep -v ^OLDPWD= > ', plainPath]),
  joined(['ls -ld ', givenPath, ' | cut -c1-10 > ', plainPath]),
  joined(['mkfifo ', plainPath]),
  fc.constant('find /o /w -xdev 2>/dev/null | sort > /listed'),
);
const commands = several(command, 1, 3, '; ').map((text) => `${text}; true`);
const bodyLine = fc.oneof(
  pick(
    'one $A',
    '  two',
    '\tthree ${B:-z}',
    '# four',
    '',
    '\\$five',
    'six\\',
    "seven '$C'",
    'EOFX',
    '"eight',
    '<<EOT',
  ),
  command,
);
const heredoc = fc
  .tuple(
    pick('<<', '<<-'),
    pick('EOF', "'EOF'", '"EOF"', 'EOF', 'E.F', 'file.txt'),
    fc.array(bodyLine, { maxLength: 4 }),
  )
  .map(([mark, name, lines]) => ({
    mark: `${mark}${name}`,
    body: [...lines.map((line) => `${line}\n`), `${name.replace(/['"]/g, '')}\n`].join(''),
  }));

const mount = fc.oneof(
  joined([
    'type=bind,',
    pick('source=a', 'src=/b', 'source=a/f1', 'src=.'),
    ',',
    pick('target', 'dst', 'destination'),
    '=',
    pick('/m', 'm', '/o/m', '/m/n'),
    maybe(pick(',rw', ',ro', ',readonly=false')),
  ]),
  joined(['type=tmpfs,target=', pick('/m', '/o', '/tmp'), maybe(pick(',size=1m'))]),
  joined([
    'type=cache,target=',
    pick('/m', '/c', '/o/c'),
    ',id=random',
    pick(',sharing=private', ',sharing=locked,mode=0700', ',uid=5,gid=6', ',sharing=private,ro'),
  ]),
  joined(['target=', pick('/m', '/o/k'), ',from=0,source=/etc']),
  joined(['type=secret,id=none', maybe(pick(',target=/m', ',mode=0444', ',env=S'))]),
);

const instruction = fc.oneof(
  {
    arbitrary: joined(['ENV ', several(joined([pick('A', 'B', 'C', 'D'), '=', word]), 1, 3)]),
    weight: 4,
  },
  { arbitrary: joined(['ENV ', pick('A', 'B', 'E'), ' ', several(word, 1, 2)]), weight: 1 },
  {
    arbitrary: joined([
      'ARG ',
      several(
        joined([pick('A', 'B', 'C', 'G', 'F', 'TARGETARCH'), maybe(joined(['=', word]), 2, 3)]),
        1,
        2,
      ),
    ]),
    weight: 4,
  },
  {
    arbitrary: joined([
      'LABEL ',
      several(joined([pick('a', 'b', '"c d"', 'org.x/y', '$A.k'), '=', word]), 1, 2),
    ]),
    weight: 2,
  },
  {
    arbitrary: joined(['RUN ', maybe(joined(['--mount=', mount, ' ']), 1, 4), commands]),
    weight: 8,
  },
  {
    arbitrary: joined([
      'RUN ',
      maybe(pick('--network=none ', '--network=default '), 1, 4),
      '["/bin/sh", "-c", "echo $A > /exec; env | sort | grep -v OLDPWD= >> /exec"]',
    ]),
    weight: 1,
  },
  {
    arbitrary: heredoc.map(({ mark, body }) => `RUN cat > /here ${mark}\n${body}`.trimEnd()),
    weight: 1,
  },
  {
    arbitrary: fc
      .tuple(pick('<<EOF', "<<'EOF'", '<<-EOF'), fc.array(command, { minLength: 1, maxLength: 3 }))
      .map(([mark, lines]) => `RUN ${mark}\n${lines.join('\n')}\ntrue\nEOF`),
    weight: 1,
  },
  {
    arbitrary: fc
      .tuple(
        pick('COPY', 'ADD'),
        copyFlags,
        fc.array(heredoc, { minLength: 1, maxLength: 2 }),
        directory,
      )
      .map(([name, flags, docs, to]) =>
        `${name} ${flags.replace(/--(exclude|parents)\S* /g, '')}${docs.map(({ mark }) => mark).join(' ')} ${to}\n${docs.map(({ body }) => body).join('')}`.trimEnd(),
      ),
    weight: 1,
  },
  {
    arbitrary: joined([
      pick('COPY ', 'COPY ', 'ADD '),
      copyFlags,
      several(source, 1, 2),
      ' ',
      directory,
    ]),
    weight: 8,
  },
  { arbitrary: joined(['COPY ', copyFlags, source, ' ', givenPath]), weight: 3 },
  {
    arbitrary: joined(['ADD ', copyFlags, pick('t.tar', 't.tgz', 't.*'), ' ', directory]),
    weight: 1,
  },
  { arbitrary: joined(['COPY ["', source, '", "', givenPath, '"]']), weight: 1 },
  { arbitrary: joined(['WORKDIR ', givenPath]), weight: 3 },
  {
    arbitrary: joined([
      'USER ',
      pick('nobody', 'www-data:users', '0', '0:5', 'root', 'nobody', '${U:-root}', 'daemon'),
    ]),
    weight: 2,
  },
  {
    arbitrary: joined([
      'EXPOSE ',
      several(pick('80', '53/udp', '8000-8002', '${P:-90}', '1/tcp', '80/TCP', '9/sctp'), 1, 3),
    ]),
    weight: 1,
  },
  {
    arbitrary: joined(['VOLUME ', pick('/v', '/o /w', '["/v", "/v w"]', '$A/v', '/o/p')]),
    weight: 1,
  },
  {
    arbitrary: joined([
      pick('CMD ', 'ENTRYPOINT '),
      pick(
        '["a", "b $A"]',
        'echo $A',
        '[]',
        '["a" "b"]',
        'exec  two  blanks',
        "['x']",
        '["\\u00fc", "\\n"]',
      ),
    ]),
    weight: 2,
  },
  {
    arbitrary: joined([
      'SHELL ',
      pick('["/bin/sh", "-ec"]', '["/bin/sh", "-c"]', '["/bin/sh", "-xc"]'),
    ]),
    weight: 1,
  },
  { arbitrary: joined(['STOPSIGNAL ', pick('9', 'SIGTERM', 'INT', '${S:-QUIT}')]), weight: 1 },
  {
    arbitrary: joined([
      'HEALTHCHECK ',
      pick(
        'NONE',
        'CMD a $A',
        '--interval=5s --retries=2 CMD ["a", "b"]',
        '--timeout=1m30s --start-period=1ms CMD x',
        'none',
      ),
    ]),
    weight: 1,
  },
  {
    arbitrary: joined([
      'ONBUILD ',
      pick(
        'RUN echo $A > /onbuild',
        'COPY a /ob',
        'ENV OB=$A',
        'WORKDIR ob',
        'ARG G',
        'USER nobody',
        'LABEL ob=${B:-x}',
        'CMD ["ob"]',
        'COPY --chown=5 b/f1 ob/',
        'RUN --mount=type=tmpfs,target=/m true',
      ),
    ]),
    weight: 1,
  },
);

/** How an instruction is written: the keyword's case, blanks, comments in continued lines. */
const styled = fc
  .tuple(
    instruction,
    fc.oneof(
      { arbitrary: fc.constant('as it is'), weight: 6 },
      { arbitrary: pick('lower', 'indented', 'continued', 'commented'), weight: 1 },
    ),
  )
  .map(([text, style]) => {
    if (text.includes('\n')) return text;
    switch (style) {
      case 'lower':
        return text.replace(/^[A-Z]+/, (keyword) => keyword.toLowerCase());
      case 'indented':
        return `  \t${text} `;
      case 'continued':
        return text.replace(' ', ' \\\n  ');
      case 'commented':
        return text.replace(' ', ' \\\n# comment $A\n\n ');
      default:
        return text;
    }
  });

const stageBody = fc.array(styled, { minLength: 1, maxLength: 8 });
/** What instructions meet in a stage that stands on an image. */
const FILL =
  'RUN mkdir -p /o/p /w /d && echo l > /d/y && ln -s d /l && echo o > /o/f && ln /o/f /w/hard && chown 9:9 /w && chmod 2750 /o/p';

const copyFromStage = (index: number): fc.Arbitrary<string> =>
  joined([
    'COPY --from=',
    pick(...Array.from({ length: index }, (_, i) => `s${i}`), String(index - 1), '@base@'),
    ' ',
    copyFlags,
    pick('/o', '/w', '/o/.', '/w/*', '/o/p/', '/o/p', 'o', '/*/f1', '/[ow]'),
    ' ',
    directory,
  ]);

function stage(index: number): fc.Arbitrary<string> {
  const base =
    index === 0
      ? fc.constant('@base@')
      : fc.oneof(
          { arbitrary: pick('@base@', '${BASE}'), weight: 3 },
          { arbitrary: pick(...Array.from({ length: index }, (_, i) => `s${i}`)), weight: 3 },
          { arbitrary: fc.constant('scratch'), weight: 1 },
        );
  const copies =
    index === 0 ? fc.constant<string[]>([]) : fc.array(copyFromStage(index), { maxLength: 2 });
  return fc.tuple(base, stageBody, copies).map(([from, body, more]) => {
    const kept =
      from === 'scratch' ? body.filter((text) => !/^\s*(run|ENV PATH)/i.test(text)) : body;
    const filled =
      from === 'scratch'
        ? ['COPY a /o/p', 'COPY b /w']
        : from === '@base@' || from === '${BASE}'
          ? [FILL]
          : [];
    return [
      `FROM ${from} AS s${index}`,
      ...filled,
      ...kept.slice(0, 3),
      ...more,
      ...kept.slice(3),
    ].join('\n');
  });
}

const ignoreLine = pick(
  '*.md',
  'a/sub',
  '!a/sub/g.txt',
  '**/f1',
  '!b/f1',
  '# c',
  'e/',
  '*',
  '!a',
  '!b',
  '/z.md',
  'b/*',
  '!**/*.txt',
  '.dockerignore',
  'a/s?b',
  '!a/sub/deep/h',
  '',
);

const dockerfile = fc
  .tuple(
    maybe(pick('# escape=\\\n', '# just a comment\n', '\n'), 1, 4),
    several(pick('ARG G=glob', 'ARG A=$G-2', 'ARG P', 'ARG B=${A:-q}x'), 0, 2, '\n'),
    fc
      .integer({ min: 1, max: 3 })
      .chain((count) => fc.tuple(...Array.from({ length: count }, (_, i) => stage(i)))),
  )
  .map(([head, args, stages]) => `${head}ARG BASE=@base@\n${args}\n${stages.join('\n\n')}\n`);

const args = fc.tuple(
  maybe(pick('--build-arg=A=given', '--build-arg=G=g2', '--build-arg=B=', '--build-arg=C'), 1, 3),
  maybe(pick('--target=s0', '--label=a=flag', '--platform=linux/amd64'), 1, 6),
);

/**
 * What follows from meant differences: a layer with what was written anew as it was, and one
 * without; hard links that are kept.
 */
const NOISE = /^layers?\b|\.empty_layer: |: links /;

/** Compositions of instructions that nobody thought of: the same for the same seed. */
export function randomCases(count: number, seed: number): ReferenceCase[] {
  const arbitrary = fc.tuple(
    dockerfile,
    args,
    fc.oneof(
      { arbitrary: fc.constant([]), weight: 2 },
      { arbitrary: fc.array(ignoreLine, { minLength: 1, maxLength: 4 }), weight: 1 },
    ),
  );
  return fc.sample(arbitrary, { numRuns: count, seed }).map(([text, flags, ignored], i) => ({
    id: `random: ${seed}-${i}`,
    dockerfile: text,
    setup: SETUP,
    args: flags.filter((flag) => flag !== ''),
    env: [],
    noise: NOISE,
    files: new Map(ignored.length === 0 ? [] : [['.dockerignore', `${ignored.join('\n')}\n`]]),
  }));
}

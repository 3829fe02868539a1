import { readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { cacheKey, type KeyInput, type KeyValue, type ResultId } from '../../src/cache/key';
import { smallBase } from '../support/bases';
import { Mbuild, instructionSteps } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

/** Whether one build can make another take a result that is not its own. */
describeWith('mbuild withstands', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  const context = (dockerfile: string, files: Readonly<Record<string, string>> = {}): string =>
    writeFiles(temp.dir('context'), { ...files, Dockerfile: `FROM small-base\n${dockerfile}\n` });

  test.each([
    ['RUN ["echo", "a b", "c"]', 'RUN ["echo", "a", "b c"]'],
    ['RUN ["echo", "a,b"]', 'RUN ["echo", "a", "b"]'],
    ['ENV A="1 B=2"\nRUN echo', 'ENV A=1 B=2\nRUN echo'],
    ['ENV AB=C\nRUN echo 3', 'ENV A=BC\nRUN echo 3'],
    ['ARG A=1\nRUN echo 4', 'ARG A=2\nRUN echo 4'],
    ['WORKDIR /a\nRUN echo 5', 'WORKDIR /\nRUN echo 5'],
    ['USER daemon\nRUN echo 6', 'USER daemon:root\nRUN echo 6'],
    ['RUN --mount=type=tmpfs,target=/a echo 7', 'RUN --mount=type=tmpfs,target=/b echo 7'],
    ['RUN --network=none echo 8', 'RUN echo 8'],
    [
      'RUN --mount=type=secret,id=a,target=/a,required=false echo 9',
      'RUN --mount=type=secret,id=b,target=/a,required=false echo 9',
    ],
    ['COPY ab c/', 'COPY a bc/'],
    ['COPY --chmod=600 a /', 'COPY --chmod=644 a /'],
    ['COPY --chown=1 a /', 'COPY --chown=1:1 a /x/'],
    ['COPY <<a /x\nb\na', 'COPY <<b /x\na\nb'],
    ['SHELL ["/bin/sh", "-c"]\nRUN echo 10', 'SHELL ["/bin/sh", "-xc"]\nRUN echo 10'],
  ])('attack 20: %j is not taken for %j', async (one, two) => {
    const files = { a: 'bc', ab: 'c', b: '' };
    await mbuild.ok(['build', context(one, files)]);
    const { steps } = await mbuild.build([context(two, files)]);
    expect(instructionSteps(steps).some((step) => !step.cached)).toBe(true);
  });

  test('attack 20: contents that move from one file to the other, and names from one to the other, are other contents', async () => {
    const cases: readonly Readonly<Record<string, string>>[] = [
      { a: 'xy', b: 'z' },
      { a: 'x', b: 'yz' },
      { ab: 'xyz' },
      { 'a/b': 'xyz' },
      { a: '', bxyz: '' },
      { 'a\nb': 'xyz' },
    ];
    for (const files of cases) {
      const { steps } = await mbuild.build([context('COPY --exclude=Dockerfile . /d/', files)]);
      expect(instructionSteps(steps).map((step) => step.cached)).toEqual([false]);
    }
  });

  test('attack 20: inputs that differ anywhere have keys that differ', () => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('', ':', '1:', 's1:a', 'u0:', '\0', 'l1:', 'r0:', ','),
    );
    const { value } = fc.letrec<{ value: KeyValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        text,
        fc.integer(),
        fc.boolean(),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(
          text.filter((name) => name !== '__proto__'),
          tie('value'),
          { maxKeys: 4 },
        ),
      ),
    }));
    const input = fc.record({
      kind: text,
      parent: text.map((id) => id as ResultId),
      inputs: fc.dictionary(
        text.filter((name) => name !== '__proto__'),
        value,
        { maxKeys: 4 },
      ),
    });
    const plain = (one: KeyInput): string =>
      JSON.stringify(one, (_, part: unknown) =>
        typeof part === 'object' && part !== null && !Array.isArray(part)
          ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
          : part,
      );
    fc.assert(
      fc.property(input, input, (one, two) => {
        expect(cacheKey(one) === cacheKey(two)).toBe(plain(one) === plain(two));
      }),
      { numRuns: 2000 },
    );
    // A change of one place is the likeliest to collide.
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 5 }),
        fc.nat(4),
        text,
        (list, at, other) => {
          const changed = list.map((item, i) => (i === at % list.length ? other : item));
          const keyOf = (args: readonly string[]): string =>
            cacheKey({ kind: 'run', parent: 'p' as ResultId, inputs: { args } });
          expect(keyOf(list) === keyOf(changed)).toBe(list.join('\x01') === changed.join('\x01'));
          expect(keyOf(list)).not.toBe(keyOf([...list, '']));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('what a COPY selected of a stage is remembered, and taken from the cache', async () => {
    const place = context('RUN echo 1 > /one\nFROM small-base\nCOPY --from=0 /one /two');
    for (let i = 0; i < 3; i++) await mbuild.ok(['build', place]);
    expect(
      instructionSteps((await mbuild.build([place])).steps).map((step) => step.cached),
    ).not.toContain(false);
  });

  describe('a record of the store that was tampered with', () => {
    const dir = (): string => context('RUN echo good > /f');
    const records = (): string => join(mbuild.root, 'cache', 'records');

    /** Builds something, changes its records, and returns what the next build makes of it. */
    async function after(
      tamper: (file: string, record: Record<string, unknown>) => void,
    ): Promise<string> {
      await mbuild.ok(['builder', 'prune', '-a', '-f']);
      const place = dir();
      await mbuild.ok(['build', place]);
      for (const name of readdirSync(records()))
        tamper(
          join(records(), name),
          JSON.parse(readFileSync(join(records(), name), 'utf8')) as Record<string, unknown>,
        );
      const out = temp.dir('out');
      await mbuild.ok(['build', '-o', out, place]);
      return readFileSync(join(out, 'f'), 'utf8');
    }

    test.each<readonly [string, (file: string, record: Record<string, unknown>) => void]>([
      [
        "is another step's",
        (file, record) => writeFileSync(file, JSON.stringify({ ...record, key: 'f'.repeat(64) })),
      ],
      [
        'lies under another name',
        (file) => renameSync(file, file.replace(/.{6}\.json$/, '000000.json')),
      ],
      ['is no JSON', (file) => writeFileSync(file, '{"version":1,')],
      ['is empty', (file) => writeFileSync(file, '')],
      ['is a list', (file) => writeFileSync(file, '[]')],
      ['is null', (file) => writeFileSync(file, 'null')],
      [
        'names a layer by a path',
        (file, record) =>
          writeFileSync(
            file,
            JSON.stringify({
              ...record,
              layer: {
                ...(record['layer'] as object),
                chainId: 'sha256:../../../../../../etc',
                diffId: 'sha256:../../x',
              },
            }),
          ),
      ],
      [
        'names a layer that is not there',
        (file, record) =>
          writeFileSync(
            file,
            JSON.stringify({
              ...record,
              layer: {
                ...(record['layer'] as object),
                chainId: `sha256:${'0'.repeat(64)}`,
                diffId: `sha256:${'0'.repeat(64)}`,
              },
            }),
          ),
      ],
    ])('attack 20: %s', async (_, tamper) => {
      expect(await after(tamper)).toBe('good\n');
    });
  });
});

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = `FROM small-base AS tools
RUN echo loud; echo tool > /tool
FROM small-base
COPY file /
COPY --from=tools /tool /tool
RUN cat /file; echo done
`;

interface Forecast {
  readonly steps: {
    readonly name: string;
    readonly outcome: string;
    readonly why?: string;
    readonly seconds?: number;
  }[];
  readonly hits: number;
  readonly misses: number;
  readonly expectedSeconds: number;
  readonly untimed: number;
}

describeWith('what is on record of builds', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  beforeEach(() => {
    context = writeFiles(temp.dir('context'), {
      Dockerfile: DOCKERFILE,
      file: `${Math.random()}\n`,
    });
  });

  async function build(...args: string[]): Promise<{ id: string; stderr: string }> {
    const { stderr } = await mbuild.build([...args, context]);
    return { stderr, id: /^build (\S+):/m.exec(stderr)?.[1] ?? '' };
  }

  it('ends the output of a build with its id and what the cache saved, and says the same in the metadata', async () => {
    await build();
    const file = join(temp.dir('out'), 'metadata.json');
    const { stderr, id } = await build('--metadata-file', file);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(
      /^build \w+: 4 of 4 steps from the cache, \d+\.\ds and \S+B saved$/,
    );
    const metadata = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    expect(metadata['buildx.build.ref']).toBe(id);
    expect(metadata['mbuild.cache']).toMatchObject({
      hits: 4,
      misses: 0,
      hitRatio: 1,
      secondsSaved: expect.any(Number) as number,
      bytesSaved: expect.any(Number) as number,
    });
  });

  it('lists builds, the latest first, failed ones too', async () => {
    const { id } = await build();
    writeFileSync(join(context, 'Dockerfile'), 'FROM small-base\nRUN exit 1\n');
    await mbuild.run(['build', context]);
    const rows = (await mbuild.ok(['builds', '--format', '{{.ID}} {{.Status}} {{.Cached}}'])).split(
      '\n',
    );
    expect(rows[0]).toMatch(/ failed: EXEC_FAILED 0\/1$/);
    expect(rows[1]).toMatch(new RegExp(`^${id} done`));
  });

  it('keeps the logs of steps, also for later builds that take them from the cache', async () => {
    const first = await build('--no-cache');
    const second = await build();
    for (const { id } of [first, second])
      expect(await mbuild.ok(['logs', id, 'tools 2'])).toBe('loud');
    expect(await mbuild.ok(['logs', second.id, ':6'])).toBe(
      `${readFileSync(join(context, 'file'), 'utf8')}done`,
    );
    const all = await mbuild.ok(['logs', second.id]);
    expect(all).toContain(
      '#1 [tools 2/2] RUN echo loud; echo tool > /tool\n#1 loud\n#1 CACHED from build ',
    );
    expect((await mbuild.run(['logs', 'nothing-of-the-kind'])).stderr).toContain(
      'nothing-of-the-kind',
    );
  });

  it('keeps all of a long log, compressed', async () => {
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM small-base\nRUN : ${Math.random()}; yes long line | head -n 400000\n`,
    );
    await build();
    const log = await mbuild.ok(['logs', 'latest', '2']);
    expect(log.split('\n')).toHaveLength(400_000);
    const [record] = [...walk(join(mbuild.root, 'builds'))]
      .filter((path) => path.includes('.logs/'))
      .slice(-1);
    expect(readFileSync(record ?? '').length).toBeLessThan(log.length / 100);
  });

  it('plans: what would hit, miss and may hit, and how long it would take', async () => {
    const plan = async (...args: string[]): Promise<Forecast> =>
      JSON.parse(await mbuild.ok(['plan', '--format', 'json', ...args, context])) as Forecast;
    writeFileSync(
      join(context, 'Dockerfile'),
      DOCKERFILE.replace('RUN cat', 'RUN sleep 0.2; cat').replace('loud', `loud ${Math.random()}`),
    );
    const cold = await plan();
    expect(cold.steps.map((step) => step.outcome)).toEqual(['miss', 'miss', 'may-hit', 'may-hit']);
    const before = await mbuild.ok(['builds', '-aq']);
    await build();
    expect((await plan()).steps.map((step) => step.outcome)).toEqual(['hit', 'hit', 'hit', 'hit']);
    writeFileSync(join(context, 'file'), 'longer than it was before\n');
    const warm = await plan();
    expect(warm).toMatchObject({ hits: 1, misses: 3, untimed: 0 });
    expect(warm.steps.map(({ outcome, why }) => [outcome, why?.replace(/\d+ B/, 'N B')])).toEqual([
      ['hit', undefined],
      ['miss', 'file changed (+N B)'],
      ['may-hit', 'parent step stage-1 2 was rebuilt'],
      ['may-hit', 'parent step stage-1 3 was rebuilt'],
    ]);
    expect(warm.expectedSeconds).toBeGreaterThanOrEqual(0.2);
    expect(await mbuild.ok(['plan', context])).toContain('MISS');
    expect((await mbuild.ok(['builds', '-aq'])).split('\n')).toHaveLength(
      before.split('\n').length + 1,
    );
  });

  it('lists and forgets results, and tells two builds apart', async () => {
    const one = await build();
    writeFileSync(join(context, 'file'), 'other\n');
    writeFileSync(join(context, 'Dockerfile'), DOCKERFILE.replace('echo done', 'echo ready'));
    const two = await build();
    expect(
      (await mbuild.ok(['cache', 'ls', '--format', '{{.Build}} {{.Description}}'])).split('\n'),
    ).toContain(`${two.id} COPY … /`);
    expect(await mbuild.ok(['cache', 'diff', one.id, two.id])).toMatch(
      /^= \[tools 2\/2\] RUN .*\n! \[stage-1 2\/4\] COPY file \/\n {4}file changed \(.*\)\n! \[stage-1 3\/4\] COPY --from.*\n {4}the tree it starts on changed\n! \[stage-1 4\/4\] RUN .*\n {4}instruction changed \(was: RUN cat \/file; echo done\)$/,
    );
    expect(await mbuild.ok(['cache', 'du'])).toMatch(/^KIND .*\nCOPY .*\nRUN /);
    await mbuild.ok(['cache', 'rm', two.id]);
    expect((await build()).stderr).toContain('not cached: evicted on ');
    const wrong = await mbuild.run(['cache', 'rm', 'ffffffffffff']);
    expect([wrong.code, wrong.stderr]).toEqual([
      125,
      expect.stringContaining('the cache has no result for the key or build ffffffffffff'),
    ]);
  });

  it('counts a damaged record of the cache as a miss, and says so', async () => {
    await build();
    const folder = join(mbuild.root, 'cache', 'records');
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), '{"version":1');
    const { stderr } = await build();
    expect(stderr).toMatch(
      /^note: \S+\/cache\/records\/\S+ is damaged: it was moved to \S+, where it stays until the next prune$/m,
    );
    expect(stderr).toContain('not cached: its result is no longer in the store');
  });

  it('does without records of builds that are damaged', async () => {
    const { id } = await build();
    const file =
      [...walk(join(mbuild.root, 'builds'))].find((path) => path.endsWith(`${id}.json`)) ?? '';
    writeFileSync(file, '{');
    writeFileSync(join(context, 'file'), 'changed\n');
    expect((await build()).stderr).toContain('not cached: ');
    expect((await mbuild.run(['explain', id])).stderr).toContain(
      `the record of build ${id} cannot be read`,
    );
  });
});

function* walk(dir: string): Generator<string> {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) yield* walk(join(dir, entry.name));
    else yield join(dir, entry.name);
  }
}

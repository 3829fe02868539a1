import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { ReplayReport } from '../../src/bench/report';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

describeWith('bench replay --pull', { root: true, programs: ['git'], also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;

  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.stop());

  it('asks registries for configs and users, and leaves layers where they are', async () => {
    const base = `${registry.host}/base:1`;
    // The second layer has the list of users that counts; the third deletes that of groups.
    const image = writeFiles(temp.dir('image'), {
      Dockerfile:
        'FROM scratch AS lists\nCOPY old /etc/\nFROM lists\nCOPY new /etc/\nENV PLACE=/srv\nONBUILD COPY always /kept\nWORKDIR /work\n',
      'old/passwd': 'app:x:1:1::/:\n',
      'old/group': 'app:x:1:\n',
      'new/passwd': 'app:x:7:7::/:\n',
    });
    const builder = new Mbuild(temp.dir('store'));
    await builder.build(['-t', base, '--push', image]);
    const dir = writeFiles(temp.dir('history'), { a: 'a\n', always: 'b\n' });
    const git = (...args: string[]): void => {
      const who = ['-c', 'user.name=a', '-c', 'user.email=a@b'];
      execFileSync('git', [...who, ...args], { cwd: dir, env: cleanEnv() });
    };
    const commit = (owner: string, dest: string): void => {
      writeFiles(dir, { Dockerfile: `FROM ${base}\nCOPY --chown=${owner} a ${dest}\n` });
      git('add', '-A');
      git('commit', '-q', '-m', owner);
    };
    git('init', '-q', '.');
    commit('app', '$PLACE/');
    commit('7:7', '/srv/');
    commit('8', '/srv/');

    const replay = async (...args: string[]): Promise<ReplayReport> =>
      JSON.parse(
        await new Mbuild(temp.dir('empty')).ok([
          'bench',
          'replay',
          '--git=HEAD',
          '--format=json',
          ...args,
          dir,
        ]),
      ) as ReplayReport;
    const outcomes = ({ runs }: ReplayReport): (readonly string[])[] =>
      (runs[0]?.commits ?? []).map(({ steps }) => steps.map(({ outcome }) => outcome));

    const asked = await replay('--pull');
    // A trigger of the base, and an owner that is the same by name and by number.
    expect(outcomes(asked)).toEqual([
      ['miss', 'miss'],
      ['hit', 'hit'],
      ['hit', 'miss'],
    ]);
    expect(asked.notes.filter((note) => note.includes(base))).toEqual([]);
    const unasked = await replay();
    expect(outcomes(unasked)).toEqual([['miss'], ['miss'], ['miss']]);
    expect(unasked.notes).toContainEqual(
      expect.stringContaining(`the image ${base} is not in the store`),
    );
  }, 60_000);

  it('says why a registry did not tell', async () => {
    const dir = writeFiles(temp.dir('history'), {
      Dockerfile: `FROM ${registry.host}/none\nRUN a\n`,
    });
    execFileSync(
      'sh',
      ['-c', 'git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm 1'],
      { cwd: dir, env: cleanEnv() },
    );
    const mbuild = new Mbuild(join(temp.dir('store')));
    const text = await mbuild.ok(['bench', 'replay', '--git=HEAD', '--pull', dir]);
    expect(text).toMatch(
      /^note: the image \S+\/none is not in the store and its registry did not tell of it \(.+\): /m,
    );
  });
});

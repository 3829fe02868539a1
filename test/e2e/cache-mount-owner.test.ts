import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('owners of cache mounts', { root: true }, () => {
  const temp = useTemp();

  it('each owner has a cache of its own, which `cache-mount ls` shows', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const root = writeFiles(temp.dir('root'), {
      Dockerfile:
        'FROM small-base\nRUN --mount=type=cache,target=/c,uid=0,mode=0755 echo root > /c/file\n' +
        'RUN --mount=type=cache,target=/c cp /c/file /root-file\n',
    });
    const user = writeFiles(temp.dir('user'), {
      Dockerfile:
        'FROM small-base\nUSER 1000\n' +
        'RUN --mount=type=cache,target=/c,uid=1000,gid=1000 test ! -e /c/file && echo mine > /c/mine\n',
    });
    await mbuild.build([root]);
    await mbuild.build([user]);
    expect(
      (await mbuild.ok(['cache-mount', 'ls', '--format', '{{.ID}} {{.Owner}}'])).split('\n').sort(),
    ).toEqual(['/c ', '/c 1000:1000 0755']);
  });

  it('a command that is denied something in the cache of another user gets a hint', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nUSER 1000\nRUN --mount=type=cache,target=/c echo > /c/file\n',
    });
    const failed = await mbuild.run(['build', context]);
    expect(failed.stderr).toContain(
      '[EXEC_FAILED] hint: the cache mount /c belongs to another user: add uid=1000,gid=1000 to it',
    );
  });
});

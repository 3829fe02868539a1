import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('the forms of CI services', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** A repository whose Dockerfile is in a directory, as a runner checks it out. */
  function checkout(dockerfile: string): { root: string; env: Record<string, string> } {
    const root = writeFiles(temp.dir('checkout'), {
      'image/Dockerfile': dockerfile,
      'image/a.txt': 'a\n',
      'summary.md': '',
    });
    return {
      root,
      env: {
        CI: 'true',
        GITHUB_ACTIONS: 'true',
        GITHUB_WORKSPACE: root,
        GITHUB_STEP_SUMMARY: join(root, 'summary.md'),
      },
    };
  }

  it('GitHub: groups, annotations at the path from the repository, and the job summary', async () => {
    const { root, env } = checkout(
      "FROM small-base\nRUN echo '::error::from the step'; echo two\nMAINTAINER me\nCOPY a.txt /\n",
    );
    const { code, stderr } = await mbuild.run(['build', '-t', 'app:1', 'image'], {
      cwd: root,
      env,
    });
    expect(code).toBe(0);
    const orders = stderr.split('\n').filter((line) => line.startsWith('::'));
    expect(orders.filter((line) => line.startsWith('::error'))).toEqual([]);
    expect(orders.filter((line) => line.startsWith('::group::')).length).toBe(
      orders.filter((line) => line === '::endgroup::').length,
    );
    expect(orders).toContainEqual(
      expect.stringMatching(/^::group::#\d+ \[2\/3\] RUN echo ' ?:?:?.*two DONE/),
    );
    expect(orders).toContain(
      '::warning file=image/Dockerfile,line=3,endLine=3,title=MaintainerDeprecated::Maintainer instruction is deprecated in favor of using label',
    );
    expect(stderr).toContain('from the step');
    const summary = readFileSync(join(root, 'summary.md'), 'utf8');
    expect(summary).toContain('### mbuild: docker.io/library/app:1');
    expect(summary).toContain('no earlier build of this step');
    const tail = stderr.slice(stderr.lastIndexOf('\n\nbuild ') + 2);
    expect(tail.trimEnd().split('\n').length).toBeLessThanOrEqual(10);
    expect(tail).toContain('digest: sha256:');
  });

  it('GitHub: a failure is an error at its line, and in the summary with its output', async () => {
    const { root, env } = checkout('FROM small-base\nRUN echo lost; exit 3\n');
    const { code, stderr } = await mbuild.run(['build', 'image'], { cwd: root, env });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^::error file=image\/Dockerfile,line=2,endLine=2,title=EXEC_FAILED::.*code 3/m,
    );
    expect(readFileSync(join(root, 'summary.md'), 'utf8')).toContain('lost');
  });

  it('a job summary that is full is left as it is, and the build goes on', async () => {
    const { root, env } = checkout('FROM small-base\nCOPY a.txt /\n');
    const full = 'x'.repeat(1024 * 1024 - 10);
    writeFileSync(join(root, 'summary.md'), full);
    const { code, stderr } = await mbuild.run(['build', 'image'], { cwd: root, env });
    expect(code).toBe(0);
    expect(stderr).toContain('note: the job summary is full');
    expect(readFileSync(join(root, 'summary.md'), 'utf8')).toBe(full);
  });

  it('GitLab: sections; --check writes a code quality report', async () => {
    const { root } = checkout('FROM small-base\nRUN echo gitlab\nMAINTAINER me\n');
    const env = { CI: 'true', GITLAB_CI: 'true', CI_PROJECT_DIR: root };
    const built = await mbuild.run(['build', 'image'], { cwd: root, env });
    expect(built.code).toBe(0);
    expect(built.stderr).toMatch(
      /^\x1b\[0Ksection_start:\d+:\w+\[collapsed=true\]\r\x1b\[0K#\d+ \[2\/2\] RUN echo gitlab DONE/m,
    );
    const report = JSON.parse(
      await mbuild.ok(['build', '--call=check,format=codeclimate', 'image'], { cwd: root, env }),
    ) as object[];
    expect(report).toEqual([
      {
        description: 'Maintainer instruction is deprecated in favor of using label',
        check_name: 'MaintainerDeprecated',
        fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        severity: 'minor',
        location: { path: 'image/Dockerfile', lines: { begin: 3, end: 3 } },
      },
    ]);
  });

  it('--log-timestamp begins each line of plain progress with the time', async () => {
    const { root } = checkout('FROM small-base\nRUN echo timed\n');
    const { stderr } = await mbuild.run(['build', '--progress=plain', '--log-timestamp', 'image'], {
      cwd: root,
    });
    expect(stderr).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z #\d+ [\d.]+ timed$/m);
  });

  it('--timeout ends the whole build, and what it ran', async () => {
    const { root } = checkout('FROM small-base\nRUN sleep 60\n');
    const { code, stderr } = await mbuild.run(['build', '--timeout=2s', 'image'], { cwd: root });
    expect(code).toBe(1);
    expect(stderr).toContain('the build took longer than --timeout=2s');
    expect(stderr).toContain('[BUILD_TIMEOUT]');
  });

  it('--timeout that makes no sense is an error of the command line', async () => {
    const { root } = checkout('FROM small-base\n');
    const { code, stderr } = await mbuild.run(['build', '--timeout=soon', 'image'], { cwd: root });
    expect([code, stderr]).toEqual([125, expect.stringContaining('invalid --timeout "soon"')]);
  });
});

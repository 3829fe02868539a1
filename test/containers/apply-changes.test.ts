import { applyChanges } from '../../src/containers/apply-changes';

describe('changes to a config', () => {
  it.each([
    ['ENV A=b C="d e"', { Env: ['PATH=/bin', 'A=b', 'C=d e'] }],
    ['ENV A $PATH:x', { Env: ['PATH=/bin', 'A=/bin:x'] }],
    ['CMD ["a", "b"]', { Cmd: ['a', 'b'] }],
    ['CMD a b', { Cmd: ['/bin/sh', '-c', 'a b'] }],
    ['ENTRYPOINT ["a"]', { Entrypoint: ['a'], Cmd: undefined }],
    ['EXPOSE 80 53/udp', { ExposedPorts: { '53/udp': {}, '80/tcp': {} } }],
    ['LABEL a=b', { Labels: { a: 'b' } }],
    ['USER app', { User: 'app' }],
    ['VOLUME /data', { Volumes: { '/data': {} } }],
    ['WORKDIR work', { WorkingDir: '/srv/work' }],
    ['STOPSIGNAL SIGQUIT', { StopSignal: 'SIGQUIT' }],
    ['ONBUILD RUN true', { OnBuild: ['RUN true'] }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
  ])('%s', async (change, wanted) => {
    expect(
      await applyChanges({ Env: ['PATH=/bin'], WorkingDir: '/srv', Cmd: ['old'] }, [change]),
    ).toMatchObject(wanted);
  });

  it('are made one after the other', async () => {
    expect(
      await applyChanges({}, ['ENV A=1', 'ENV B=$A$A', 'WORKDIR /a', 'WORKDIR b']),
    ).toMatchObject({ Env: ['A=1', 'B=11'], WorkingDir: '/a/b' });
  });

  it.each([
    ['RUN true', 'UNKNOWN_INSTRUCTION'],
    ['COPY a b', 'UNKNOWN_INSTRUCTION'],
    ['FROM x', 'UNKNOWN_INSTRUCTION'],
    ['NOPE', 'UNKNOWN_INSTRUCTION'],
    ['EXPOSE x', 'DOCKERFILE_SEMANTIC'],
  ])('%s is refused', async (change, code) => {
    await expect(applyChanges({}, [change])).rejects.toMatchObject({ code });
  });
});

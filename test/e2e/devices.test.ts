import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/** A "device" that every machine has. */
const SPECIFICATION = `
cdiVersion: "0.6.0"
kind: test.mbuild/source
devices:
  - name: zeros
    containerEdits:
      env: [SOURCE=/dev/sources/zeros]
      deviceNodes: [{ path: /dev/sources/zeros, hostPath: /dev/zero }]
      mounts: [{ hostPath: FOLDER, containerPath: /opt/driver/files, options: [ro] }]
      additionalGids: [4242]
`;

describeWith('devices of a RUN step', { root: true, programs: ['crun'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let specs: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const files = writeFiles(temp.dir('driver'), { library: 'of the host\n' });
    specs = writeFiles(temp.dir('cdi'), { 'source.yaml': SPECIFICATION.replace('FOLDER', files) });
  });

  const context = (...lines: string[]): string =>
    writeFiles(temp.dir('context'), { Dockerfile: ['FROM small-base', ...lines, ''].join('\n') });
  const USING =
    'RUN --device=test.mbuild/source=zeros head -c 3 $SOURCE | wc -c; cat /opt/driver/files/library; id -G; touch /opt/driver/files/new 2>/dev/null || echo read-only';

  it.each(['namespaces', 'oci'])(
    'are there for a step alone that asks for them, with --isolation=%s',
    async (isolation) => {
      const { steps } = await mbuild.build([
        '--no-cache',
        `--isolation=${isolation}`,
        '--cdi-spec-dir',
        specs,
        '--allow',
        'device',
        context(USING, 'RUN env | grep -c SOURCE; find /opt /dev/sources 2>/dev/null || true'),
      ]);
      const [first, second] = instructionSteps(steps);
      expect(first?.log).toEqual(['3', 'of the host', '0 4242', 'read-only']);
      expect(second?.log).toEqual(['0']);
    },
  );

  it.each([
    [['--allow', 'device=test.mbuild/source=zeros'], undefined],
    [['--allow', 'device=test.mbuild/source'], undefined],
    [
      [],
      /the device test\.mbuild\/source=zeros is not allowed[^]*--allow device=test\.mbuild\/source=zeros/,
    ],
    [['--allow', 'device=other/kind,security.insecure'], /is not allowed/],
    [['--allow', 'devices'], /unknown entitlement "devices"[^]*did you mean "device"/],
  ])('need %s', async (allow, refusal) => {
    const { code, stderr } = await mbuild.run([
      'build',
      '--no-cache',
      '--cdi-spec-dir',
      specs,
      ...allow,
      context(USING),
    ]);
    if (refusal === undefined) expect({ code, stderr }).toMatchObject({ code: 0 });
    else expect(stderr).toMatch(refusal);
  });

  it('may be missing unless they are required', async () => {
    const asking = (device: string) =>
      mbuild.run([
        'build',
        '--no-cache',
        '--progress=plain',
        '--cdi-spec-dir',
        specs,
        context(`RUN --device=${device} echo went on`),
      ]);
    const optional = await asking('test.mbuild/source=zeroes');
    expect(optional.stderr).toMatch(
      /the device test\.mbuild\/source=zeroes does not exist; RUN continues without it/,
    );
    expect(optional.stderr).toMatch(/went on/);
    const required = await asking('test.mbuild/source=zeroes,required');
    expect(required.code).toBe(1);
    expect(required.stderr).toMatch(
      /> 2 │ RUN --device[^]*\[DEVICE_NOT_FOUND\] hint: did you mean "test\.mbuild\/source=zeros"/,
    );
  });

  it('cannot be given where nothing can be mounted', async () => {
    const { stderr } = await mbuild.run([
      'build',
      '--isolation=chroot',
      '--root',
      join(temp.dir('copies'), 'store'),
      '--cdi-spec-dir',
      specs,
      '--allow',
      'device',
      writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nRUN --device=test.mbuild/source=zeros x\n',
      }),
    ]);
    expect(stderr).toMatch(
      /cannot mount \/dev\/zero of the host in a step: mounts are not possible here/,
    );
  });

  it('are part of the key of a step', async () => {
    const with_ = context(USING);
    await mbuild.build(['--cdi-spec-dir', specs, '--allow', 'device', with_]);
    const { stderr } = await mbuild.build([
      '--cdi-spec-dir',
      specs,
      '--allow',
      'device',
      writeFiles(with_, {
        Dockerfile: `FROM small-base\n${USING.replace('--device=test.mbuild/source=zeros', '--device=test.mbuild/source')}\n`,
      }),
    ]);
    expect(stderr).toMatch(
      /not cached: instruction changed \(was: RUN --device=test\.mbuild\/source=zeros/,
    );
  });
});

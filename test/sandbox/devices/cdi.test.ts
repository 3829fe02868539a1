import { DeviceRegistry, editsOf } from '../../../src/sandbox/devices/cdi';
import { useTemp, writeFiles } from '../../support/temp';

const GPU = `
cdiVersion: "0.6.0"
kind: vendor.com/gpu
containerEdits:
  env: [DRIVER=1]
devices:
  - name: "1"
    annotations: { org.mobyproject.buildkit.device.class: fast }
    containerEdits: { env: [GPU=1] }
  - name: "0"
    annotations: { org.mobyproject.buildkit.device.class: fast, org.mobyproject.buildkit.device.autoallow: "true" }
    containerEdits:
      deviceNodes: [{ path: /dev/gpu0 }, { path: /dev/ctl, hostPath: /dev/gpuctl }]
      mounts: [{ hostPath: /lib/driver, containerPath: /usr/lib/driver, options: [ro, nosuid] }]
      additionalGids: [44]
`;

describe('the registry of devices', () => {
  const temp = useTemp();
  const read = (...folders: Readonly<Record<string, string>>[]): Promise<DeviceRegistry> =>
    DeviceRegistry.read(folders.map((files) => writeFiles(temp.dir('cdi'), files)));
  const named = (registry: DeviceRegistry, request: string): string[] =>
    registry.find(request).map(({ name }) => name);

  it.each([
    ['vendor.com/gpu=1', ['vendor.com/gpu=1']],
    ['vendor.com/gpu', ['vendor.com/gpu=0']],
    ['vendor.com/gpu=*', ['vendor.com/gpu=0', 'vendor.com/gpu=1']],
    ['vendor.com/gpu=fast', ['vendor.com/gpu=0', 'vendor.com/gpu=1']],
    ['vendor.com/gpu=2', []],
    ['vendor.com/other', []],
  ])('finds %s', async (request, expected) =>
    expect(named(await read({ 'gpu.yaml': GPU }), request)).toEqual(expected),
  );

  it('gives a step what its devices and their specification say, once', async () => {
    const registry = await read({ 'gpu.yaml': GPU });
    expect(editsOf(registry.find('vendor.com/gpu=*'))).toEqual({
      env: ['DRIVER=1', 'GPU=1'],
      gids: [44],
      nodes: [
        { path: '/dev/gpu0', hostPath: '/dev/gpu0' },
        { path: '/dev/ctl', hostPath: '/dev/gpuctl' },
      ],
      mounts: [{ hostPath: '/lib/driver', path: '/usr/lib/driver', readonly: true }],
    });
    expect(registry.find('vendor.com/gpu=*').map(({ autoAllowed }) => autoAllowed)).toEqual([
      true,
      false,
    ]);
  });

  it('believes a later folder, and JSON as well', async () => {
    const json = JSON.stringify({
      cdiVersion: '0.6.0',
      kind: 'vendor.com/gpu',
      devices: [{ name: '0', containerEdits: { env: ['LATER=1'] } }],
    });
    expect(
      editsOf((await read({ 'gpu.yaml': GPU }, { 'gpu.json': json })).find('vendor.com/gpu=0')).env,
    ).toEqual(['LATER=1']);
  });

  it('names both files that describe one device', async () => {
    const registry = await read({ 'a.yaml': GPU, 'b.yml': GPU });
    expect(() => registry.find('vendor.com/gpu=0')).toThrow(
      expect.objectContaining({
        code: 'DEVICE_SPEC',
        message: expect.stringMatching(
          /vendor\.com\/gpu=0 is described twice: in .*a\.yaml and .*b\.yml/,
        ),
      }),
    );
  });

  it('refuses a device that needs programs outside of the sandbox', async () => {
    const registry = await read({
      'hook.json': JSON.stringify({
        kind: 'a/b',
        devices: [
          {
            name: 'c',
            containerEdits: { hooks: [{ hookName: 'createContainer', path: '/bin/true' }] },
          },
        ],
      }),
    });
    expect(() => editsOf(registry.find('a/b=c'))).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: 'the device a/b=c needs hooks, which mbuild does not support',
      }),
    );
  });

  it.each([
    ['{', 'cannot read the device specification'],
    ['[]', 'it is not an object'],
    ['{"kind":"a"}', 'it has a kind that is not vendor/class'],
    ['{"kind":"a/b"}', 'it has no devices'],
    ['{"kind":"a/b","devices":[{}]}', 'it has a device without a name'],
    ['{"kind":"a/b","devices":[{"name":"c"}]}', 'it has no containerEdits for the device "c"'],
    [
      '{"kind":"a/b","devices":[{"name":"c","containerEdits":{"env":["X"]}}]}',
      'it has a "devices.0.containerEdits.env.0" that is not NAME=value',
    ],
    [
      '{"kind":"a/b","devices":[{"name":"c","containerEdits":{"deviceNodes":[{"path":"dev/x"}]}}]}',
      'it has a "devices.0.containerEdits.deviceNodes.0.path" that is not an absolute path',
    ],
  ])('tells what is wrong with %s', async (text, message) => {
    await expect(read({ 'x.json': text })).rejects.toThrow(
      expect.objectContaining({ code: 'DEVICE_SPEC', message: expect.stringContaining(message) }),
    );
  });
});

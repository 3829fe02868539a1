import { spawnSync } from 'node:child_process';
import { runtimeConfig } from '../../../src/sandbox/sandboxes/oci-config';
import type { ProcessSpec } from '../../../src/sandbox/sandbox';

const SPEC: ProcessSpec = {
  args: ['true'],
  env: [],
  cwd: '/',
  user: { uid: 0, gid: 0, groups: [] },
  rootfs: { kind: 'directory', path: '/nowhere' },
  mounts: [],
  mountPoints: [],
  hostname: 'host',
  network: 'host',
  capabilities: ['CHOWN'],
  confined: true,
};

describe('the configuration for a runtime', () => {
  it('has a hook that reads the whole state before it does its work', () => {
    const { hooks } = JSON.parse(
      runtimeConfig(SPEC, 'x64', {
        root: '/the root',
        bundle: '/bundle',
        mount: '/bin/echo',
        ownSys: true,
      }),
    ) as {
      hooks: { createContainer: readonly { path: string; args: readonly [string, ...string[]] }[] };
    };
    const [hook] = hooks.createContainer;
    if (hook === undefined) throw new Error('no hook');
    // More than a pipe holds: who does not read ends before it is written.
    const { error, status, stdout } = spawnSync(hook.path, hook.args.slice(1), {
      argv0: hook.args[0],
      input: `{"state": "${'x'.repeat(1 << 20)}"}`,
      env: {},
      encoding: 'utf8',
    });
    expect([error, status, stdout]).toEqual([undefined, 0, '-o remount,bind,nodev /the root\n']);
  });
});

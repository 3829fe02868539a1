// Runs trivial commands in mbuild's sandbox, with everything that a RUN has, and prints the seconds that one takes.
// usage: node sandbox.mjs STORE COUNT (the store has small-base)
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { openEngine } = createRequire(import.meta.url)('../../dist/index.cjs');
const [root, count] = process.argv.slice(2);
const engine = openEngine({ root });
const { stack } = engine.images.find('docker.io/library/small-base:latest');
const file = (target, content) => ({
  kind: 'file',
  target,
  content,
  mode: 0o644,
  uid: 0,
  gid: 0,
  readonly: false,
});
const capabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];

async function step(i) {
  const active = engine.snapshots.prepare(stack);
  const { code } = await engine.sandbox.run(
    {
      args: ['/bin/sh', '-c', `echo ${i} > /f${i}`],
      env: ['PATH=/bin'],
      cwd: '/',
      user: { uid: 0, gid: 0, groups: [0] },
      rootfs: engine.snapshots.rootfs(active),
      mounts: [
        file('/etc/hosts', Buffer.from('127.0.0.1 localhost\n')),
        file('/etc/resolv.conf', readFileSync('/etc/resolv.conf')),
      ],
      mountPoints: [
        { path: '/etc/hosts', kind: 'file' },
        { path: '/etc/resolv.conf', kind: 'file' },
      ],
      network: 'host',
      hostname: 'buildkitsandbox',
      capabilities,
      confined: true,
      maxProcesses: 4096,
      timeout: 600_000,
    },
    { output: () => undefined },
    { signal: new AbortController().signal, events: () => undefined },
  );
  if (code !== 0) throw new Error(`a step ended with ${code}`);
  engine.snapshots.discard(active);
}

await step('first');
const started = performance.now();
for (let i = 0; i < Number(count); i++) await step(i);
console.log((performance.now() - started) / 1000 / Number(count));
await engine.close();

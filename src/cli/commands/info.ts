import { existsSync } from 'node:fs';
import { availableParallelism, hostname, totalmem } from 'node:os';
import packageJson from '../../../package.json';
import { humanSize } from '../../progress/units';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';
import type { Engine } from '../../engine';
import { containersOf } from '../containers-of';
import { kernel, machine, operatingSystem } from '../format/machine';
import type { Host } from '../host';
import { withServices } from '../services';

export const command = defineCommand({
  name: 'info',
  summary: 'Show facts about the store and this machine',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', short: 'f', value: 'FORMAT', help: "'json', or a Go template" },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, async (services) => {
      const facts = {
        ...(await dockerFacts(services, host)),
        Root: services.root,
        Layers: services.layers.list().length,
        NodeVersion: process.version,
      };
      if (flags.format !== undefined) {
        host.out.write(
          `${flags.format === 'json' ? goJson(facts) : parseTemplate(flags.format).execute(facts)}\n`,
        );
        return 0;
      }
      const lines = Object.entries({
        Version: facts.ServerVersion,
        Store: facts.Root,
        Images: facts.Images,
        Layers: facts.Layers,
        CPUs: facts.NCPU,
        'Total Memory': humanSize(facts.MemTotal),
        'OS/Arch': `${facts.OSType}/${facts.Architecture}`,
        'Kernel Version': facts.KernelVersion,
        'Node.js': facts.NodeVersion,
      });
      host.out.write(lines.map(([name, value]) => `${name}: ${value}\n`).join(''));
      return 0;
    }),
});

/** What `docker info` says, with its names and types, as far as it is so here. */
async function dockerFacts(services: Engine, host: Host) {
  const containers = await containersOf(services.root, host);
  const running = containers.filter(({ state }) => state.status === 'running').length;
  return {
    ID: 'mbuild',
    Name: hostname(),
    ServerVersion: packageJson.version,
    Containers: containers.length,
    ContainersRunning: running,
    ContainersPaused: 0,
    ContainersStopped: containers.length - running,
    Images: services.images.list().length,
    // docker's words for layers that an overlay can show, and for those that only copies can.
    Driver: services.xattrs === 'files' ? 'vfs' : 'overlay2',
    DriverStatus: [['Marks of layers', services.xattrs]],
    DockerRootDir: services.root,
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
    OSType: process.platform,
    Architecture: machine(),
    OperatingSystem: operatingSystem(),
    KernelVersion: kernel(),
    CgroupVersion: existsSync('/sys/fs/cgroup/cgroup.controllers') ? '2' : '1',
    CgroupDriver: 'cgroupfs',
    SecurityOptions: ['name=seccomp,profile=builtin'],
    DefaultRuntime: 'mbuild',
    LoggingDriver: 'json-file',
    Labels: [],
    Warnings: null,
  };
}

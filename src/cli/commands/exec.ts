import { constants } from 'node:os';
import { execInContainer } from '../../containers/exec';
import { ContainerStore } from '../../containers/store';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { withTerminal } from '../attach';
import { defineCommand } from '../command';
import { readEnvironment } from '../run-options';
import { withServices } from '../services';
import { orFailure } from './run';

export const command = defineCommand({
  name: 'exec',
  summary: 'Run a command in a running container',
  usage: ['[OPTIONS] CONTAINER COMMAND [ARG...]'],
  positionals: { min: 2, max: Infinity },
  stopAtPositional: true,
  flags: {
    detach: {
      kind: 'boolean',
      short: 'd',
      unsupported: 'run it with & in a shell of the container instead',
      help: 'Not supported',
    },
    env: {
      kind: 'list',
      short: 'e',
      value: 'NAME[=VALUE]',
      help: 'Set a variable; without =VALUE, the value comes from the environment',
    },
    'env-file': {
      kind: 'list',
      value: 'FILE',
      help: 'Read variables from a file, one on each line',
    },
    interactive: { kind: 'boolean', short: 'i', help: 'Pass on standard input' },
    privileged: {
      kind: 'boolean',
      unsupported: 'a command never gets more rights than its container',
      help: 'Not supported',
    },
    tty: { kind: 'boolean', short: 't', help: 'Give the command a terminal' },
    user: { kind: 'string', short: 'u', value: 'USER[:GROUP]', help: 'Run as this user' },
    workdir: { kind: 'string', short: 'w', value: 'PATH', help: 'Working directory' },
  },
  run: ({ flags, positionals: [name = '', ...args] }, host) =>
    orFailure(host, () =>
      withServices(host, flags, async (services) => {
        const store = new ContainerStore(services.root);
        const container = store.get(name);
        if (flags.workdir?.startsWith('/') === false)
          throw new MbuildError('USAGE', `invalid --workdir ${JSON.stringify(flags.workdir)}`, {
            hint: 'write an absolute path in the container',
          });
        const request = {
          args,
          env: readEnvironment(flags, host.env),
          cwd: flags.workdir,
          user: flags.user,
          terminal: flags.tty,
        };
        let pid: number | undefined;
        const release = host.takeSignals?.((signal) => {
          if (pid !== undefined && signal !== 'SIGWINCH') sendTo(pid, signal);
        });
        try {
          return await withTerminal(
            flags.tty,
            flags.interactive,
            host,
            async (io, resizeWith) =>
              (
                await execInContainer({ container, store, services }, request, {
                  ...io,
                  started: (prepared) => {
                    pid = prepared.pid;
                    resizeWith(prepared);
                  },
                })
              ).code,
          );
        } finally {
          release?.();
        }
      }),
    ),
});

function sendTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, constants.signals[signal]);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

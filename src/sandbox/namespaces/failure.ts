import { MbuildError } from '../../diagnostics/error';
import { toText } from '../../linux/paths';
import type { ProcessSpec } from '../sandbox';
import type { Op } from './init/program';

/** What is known of a command that was not executed. */
export type FailedSpec = Pick<ProcessSpec, 'args' | 'cwd'> & Partial<Pick<ProcessSpec, 'mounts'>>;

/** Why a command was not executed, in words. */
export function failureError(
  op: Pick<Op, 'what' | 'call'>,
  errno: string,
  spec: FailedSpec,
): MbuildError {
  const command = spec.args[0] ?? '';
  if (op.call === 'execve') {
    if (errno === 'ENOENT') {
      const isPath = command.includes('/');
      return new MbuildError(
        'EXEC_NOT_FOUND',
        isPath
          ? `${command}: no such file, or the interpreter or loader that it needs is missing`
          : `${command}: executable file not found in $PATH`,
        {
          hint:
            command === '/bin/sh'
              ? 'the image has no shell: use the exec form, RUN ["program", "argument"]'
              : 'install it in an earlier RUN, or correct the name',
          exitCode: 127,
        },
      );
    }
    if (errno === 'ENOEXEC')
      return new MbuildError('EXEC_FAILED', `${command}: exec format error`, {
        hint: 'it is built for another architecture, or is a script without a #! line',
        exitCode: 126,
      });
    return new MbuildError('EXEC_FAILED', `${command}: ${reason(errno)}`, {
      hint: EXECUTE_HINTS[errno],
      exitCode: 126,
    });
  }
  if (op.call === 'chdir' && op.what.startsWith('enter the working'))
    return new MbuildError(
      'EXEC_FAILED',
      `cannot enter the working directory ${spec.cwd}: ${reason(errno)}`,
      { exitCode: 126 },
    );
  if (op.call === 'clone' || errno === 'EPERM') {
    return new MbuildError(
      'SANDBOX_UNAVAILABLE',
      `the sandbox could not ${op.what}: ${reason(errno)}`,
      {
        hint: 'RUN needs CAP_SYS_ADMIN for namespaces and mounts: run as root outside of a restricted container (docker run --privileged)',
      },
    );
  }
  if (op.call === 'mount' && ['ENOENT', 'ENOTDIR'].includes(errno))
    return noTarget(op, errno, spec);
  return new MbuildError('SANDBOX_FAILED', `the sandbox could not ${op.what}: ${reason(errno)}`, {
    hint: fewFiles(op, errno) ? TOO_FEW_FILES : undefined,
  });
}

/** A mount whose place is neither there nor could be made. */
function noTarget(
  { what }: Pick<Op, 'what'>,
  errno: string,
  { mounts = [] }: FailedSpec,
): MbuildError {
  const target = what.replace(/^mount (?:a tmpfs on )?/, '');
  const around = mounts.findLast(
    (mount) => target.startsWith(`${mount.target}/`) && mount.target !== target,
  );
  if (around?.readonly === true)
    return new MbuildError(
      'SANDBOX_FAILED',
      `cannot mount on ${toText(target)}: the path does not exist in the read-only mount on ${toText(around.target)}`,
      {
        hint: `create it there, mount elsewhere, or make the mount on ${toText(around.target)} writable (rw): writes to a bind mount are discarded after the step`,
      },
    );
  return new MbuildError('SANDBOX_FAILED', `the sandbox could not ${what}: ${reason(errno)}`, {
    hint: 'the sandbox fills /dev, /proc, /sys, /etc/hosts and /etc/resolv.conf itself: mount on another path',
  });
}

/** dup3(2): EBADF for a number beyond RLIMIT_NOFILE. */
function fewFiles({ call }: Pick<Op, 'call'>, errno: string): boolean {
  return errno === 'EMFILE' || (call === 'dup3' && errno === 'EBADF');
}

const TOO_FEW_FILES = "RUN needs about 256 open files: allow them with 'ulimit -n 256'";

const EXECUTE_HINTS: Readonly<Record<string, string>> = {
  EACCES: 'is it executable, and may the user reach it?',
  E2BIG:
    'put it into a file: one argument or variable may have 128 KiB, and all together a fourth of the stack (2 MiB)',
};

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  ELOOP: 'too many symbolic links',
  ENOMEM: 'out of memory',
  EAGAIN: 'too many processes',
  ENOSPC: 'no space left, or a limit on namespaces is reached',
  EINVAL: 'invalid argument',
  ETXTBSY: 'the file is being written',
  E2BIG: 'argument list too long',
  EROFS: 'read-only file system',
};

function reason(errno: string): string {
  return REASONS[errno] === undefined ? errno : `${REASONS[errno]} (${errno})`;
}

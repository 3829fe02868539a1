import { libc, once } from './libc';

const O_CLOEXEC = 0o2000000;
const pipe2 = once(() => libc().func('int pipe2(void *fds, int flags)'));

/** The two ends of a pipe, as file descriptors that a child process does not inherit. */
export interface PipeEnds {
  readonly read: number;
  readonly write: number;
}

/**
 * A pipe of the kernel's, where Node would make a pair of sockets, on which programs cannot reopen
 * `/dev/stdout`.
 */
export function makePipe(): PipeEnds {
  const fds = Buffer.alloc(8);
  if (pipe2()(fds, O_CLOEXEC) < 0) throw libc().error('pipe2');
  return { read: fds.readInt32LE(0), write: fds.readInt32LE(4) };
}

import type { Arch } from './interpreter';

/**
 * System call numbers `[x64, arm64]`. Linux: arch/x86/entry/syscalls/syscall_64.tbl,
 * include/uapi/asm-generic/unistd.h.
 */
const NUMBERS = {
  read: [0, 63],
  write: [1, 64],
  close: [3, 57],
  ioctl: [16, 29],
  socket: [41, 198],
  sendto: [44, 206],
  clone: [56, 220],
  execve: [59, 221],
  wait4: [61, 260],
  kill: [62, 129],
  fcntl: [72, 25],
  getcwd: [79, 17],
  chdir: [80, 49],
  fchdir: [81, 50],
  umask: [95, 166],
  getppid: [110, 173],
  setsid: [112, 157],
  setgroups: [116, 159],
  setresuid: [117, 147],
  setresgid: [119, 149],
  capset: [126, 91],
  fstatfs: [138, 44],
  pivot_root: [155, 41],
  prctl: [157, 167],
  chroot: [161, 51],
  mount: [165, 40],
  umount2: [166, 39],
  sethostname: [170, 161],
  exit_group: [231, 94],
  waitid: [247, 95],
  keyctl: [250, 219],
  openat: [257, 56],
  mkdirat: [258, 34],
  mknodat: [259, 33],
  fchownat: [260, 54],
  unlinkat: [263, 35],
  symlinkat: [266, 36],
  fchmodat: [268, 53],
  unshare: [272, 97],
  dup3: [292, 24],
  prlimit64: [302, 261],
  setns: [308, 268],
  seccomp: [317, 277],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  close_range: [436, 436],
  openat2: [437, 437],
  mount_setattr: [442, 442],
} as const satisfies Record<string, readonly [number, number]>;

export type Syscall = keyof typeof NUMBERS;

/** The number of a system call on an architecture. */
export function syscallNumber(name: Syscall, arch: Arch): number {
  return NUMBERS[name][arch === 'x64' ? 0 : 1];
}

/** Constants of the kernel's interface, by header. */
export const AT_FDCWD = -100;
export const CLONE = {
  NEWNS: 0x20000,
  NEWCGROUP: 0x2000000,
  NEWUTS: 0x4000000,
  NEWIPC: 0x8000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
} as const;
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
} as const;
export const MNT_DETACH = 2;
export const AT_EMPTY_PATH = 0x1000;
/** asm-generic/ioctls.h */
export const TIO = {
  CSCTTY: 0x540e,
  CSWINSZ: 0x5414,
  CSPTLCK: 0x40045431,
  CGPTPEER: 0x5441,
} as const;
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  NOCTTY: 0o400,
  NONBLOCK: 0o4000,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  DIRECTORY: 0o200000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;
export const S = { IFREG: 0o100000, IFCHR: 0o020000 } as const;
export const PR = {
  SET_PDEATHSIG: 1,
  SET_DUMPABLE: 4,
  CAPBSET_DROP: 24,
  SET_CHILD_SUBREAPER: 36,
  SET_NO_NEW_PRIVS: 38,
  CAP_AMBIENT: 47,
  CAP_AMBIENT_CLEAR_ALL: 4,
} as const;
export const SECCOMP = { SET_MODE_FILTER: 1, FLAG_SPEC_ALLOW: 4, FLAG_NEW_LISTENER: 8 } as const;
/** linux/mount.h */
export const FS = {
  OPEN_CLOEXEC: 1,
  SET_FLAG: 0,
  SET_STRING: 1,
  CMD_CREATE: 6,
  MOUNT_CLOEXEC: 1,
  ATTR_NODEV: 4,
  MOVE_EMPTY_PATH: 4,
} as const;
/** linux/wait.h */
export const WAIT = { P_ALL: 0, NOHANG: 1, EXITED: 4, NOWAIT: 0x1000000 } as const;
export const SIGCHLD = 17;
export const SIGKILL = 9;
export const MSG_NOSIGNAL = 0x4000;
export const F_SETFD = 2;
export const FD_CLOEXEC = 1;
export const KEYCTL_JOIN_SESSION_KEYRING = 1;
export const CAPABILITY_VERSION_3 = 0x20080522;

/** openat2(2): stay inside the directory that one starts from, and follow no magic link. */
export const RESOLVE = { NO_MAGICLINKS: 2, BENEATH: 8, IN_ROOT: 16 } as const;

/** RLIMIT_* by the names that docker's `--ulimit` takes. asm-generic/resource.h. */
export const RLIMITS: Readonly<Record<string, number>> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

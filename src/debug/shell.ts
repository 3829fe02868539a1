import { copyFileSync, readFileSync, symlinkSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { toRaw, fsPath } from '../linux/paths';
import { envValue, withEnv, DEFAULT_PATH } from '../oci/env';
import { findInPath } from '../sandbox/find-program';
import type { Mount, ProcessSpec } from '../sandbox/sandbox';
import type { ActiveSnapshot, Snapshotter, Stack } from '../snapshot/snapshotter';
import type { MergedView } from '../snapshot/view';
import { mountTarget } from '../solver/mount-target';

/** Where what is mbuild's own is seen while somebody stands in a step. */
const HOME = '/.mbuild';
/** Shells in the order in which they are liked. */
const SHELLS = ['bash', 'zsh', 'ash', 'dash', 'sh'].flatMap((name) => [
  `/bin/${name}`,
  `/usr/bin/${name}`,
  `/usr/local/bin/${name}`,
]);
/** A program header that names an interpreter. elf(5), PT_INTERP. */
const PT_INTERP = 3;

/** A process that is a shell in a step, and what is made for it. */
export interface Shell {
  readonly spec: ProcessSpec;
  /** What it is: its path, or where it comes from. */
  readonly title: string;
  readonly close: () => void;
}

/** What a shell is made for. */
export interface ShellRequest {
  readonly spec: ProcessSpec;
  /** The tree as the shell sees it. */
  readonly view: MergedView;
  readonly snapshots: Snapshotter;
  /** The step's own command, which the shell has in its history. */
  readonly failed?: readonly string[] | undefined;
  /** An image whose shell and programs are taken: its layers. */
  readonly tools?: Stack | undefined;
}

/**
 * A shell in the place of a step's command: the image's; where it has none, the host's static
 * busybox, or that of an image with tools.
 * @throws MbuildError EXEC_NOT_FOUND when there is none of them.
 */
export function shellIn(request: ShellRequest): Shell {
  const { spec, view, snapshots, tools } = request;
  const own = tools === undefined ? findShell(view) : undefined;
  if (own !== undefined) return { ...finished(request, [own]), title: own, close: () => undefined };
  const active = snapshots.prepare(tools ?? []);
  const close = (): void => snapshots.discard(active);
  try {
    const { mount, shell, title, directories } =
      tools === undefined ? hostTools(active) : imageTools(active, tools, snapshots);
    const { target, missing } = mountTarget(view, toRaw(`${HOME}/tools`), 'directory');
    const searched = [envValue(spec.env, 'PATH') ?? DEFAULT_PATH, ...directories].join(':');
    const equipped: ProcessSpec = {
      ...spec,
      env: withEnv(spec.env, 'PATH', searched),
      mounts: [...spec.mounts, { ...mount, target }],
      mountPoints: [...spec.mountPoints, ...missing],
    };
    return { ...finished({ ...request, spec: equipped }, shell), title, close };
  } catch (error) {
    close();
    throw error;
  }
}

function findShell(view: MergedView): string | undefined {
  return SHELLS.find((file) => {
    const found = view.stat(toRaw(file));
    return found?.stats.isFile() === true && (found.stats.mode & 0o111) !== 0;
  });
}

/** The process with the history file. A shell has no time limit. */
function finished(
  { spec, view, failed }: ShellRequest,
  args: readonly string[],
): Pick<Shell, 'spec'> {
  const base: ProcessSpec = { ...spec, args, timeout: undefined };
  if (failed === undefined) return { spec: base };
  const { target, missing } = mountTarget(view, toRaw(`${HOME}/history`), 'file');
  const known = new Set(spec.mountPoints.map((point) => point.path));
  const { uid, gid } = spec.user;
  const history: Mount = {
    kind: 'file',
    target,
    content: historyOf(failed, args[0] ?? ''),
    mode: 0o600,
    uid,
    gid,
    readonly: false,
  };
  return {
    spec: {
      ...base,
      env: withEnv(spec.env, 'HISTFILE', `${HOME}/history`),
      mounts: [...base.mounts, history],
      mountPoints: [...base.mountPoints, ...missing.filter((point) => !known.has(point.path))],
    },
  };
}

/** Bash reads a command of several lines as one where each has a time before it. */
function historyOf(failed: readonly string[], shell: string): Buffer {
  const text = commandText(failed);
  const stamp = path.basename(shell) === 'bash' ? '#1\n' : '';
  return Buffer.from(`${stamp}${text}\n`);
}

/** A command as it is typed: the text behind `sh -c`, or its words in quotes. */
export function commandText(args: readonly string[]): string {
  const [, flag, text] = args;
  if (args.length === 3 && flag === '-c' && text !== undefined) return text;
  return args
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(' ');
}

/** Programs that are mounted for a shell. */
interface Tools {
  readonly mount: Mount;
  readonly shell: readonly string[];
  readonly title: string;
  /** For PATH. */
  readonly directories: readonly string[];
}

/** @throws MbuildError EXEC_NOT_FOUND. */
function hostTools({ dir }: ActiveSnapshot): Tools {
  const busybox = findInPath('busybox');
  if (busybox === undefined || !isStatic(readFileSync(busybox)))
    throw new MbuildError(
      'EXEC_NOT_FOUND',
      `the image has no shell, and this machine has ${busybox === undefined ? 'no busybox' : 'a busybox that needs libraries'}`,
      {
        exitCode: 127,
        hint: 'install busybox-static, or take a shell from an image: --tools busybox',
      },
    );
  copyFileSync(busybox, path.join(dir, 'busybox'));
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n');
  for (const name of applets)
    if (/^[\w[.-]+$/.test(name) && name !== 'busybox') symlinkSync('busybox', path.join(dir, name));
  return {
    mount: { kind: 'bind', source: toRaw(dir), subpath: '/', target: '', readonly: true },
    shell: [`${HOME}/tools/sh`],
    title: `${busybox} of this machine, as the image has no shell`,
    directories: [`${HOME}/tools`],
  };
}

/** @throws MbuildError EXEC_NOT_FOUND when its shell needs libraries, which are not at their place. */
function imageTools(active: ActiveSnapshot, stack: Stack, snapshots: Snapshotter): Tools {
  const view = snapshots.view(stack);
  const shell = SHELLS.find((file) => {
    const found = view.stat(toRaw(file));
    return found?.stats.isFile() === true && isStatic(readFileSync(fsPath(found.hostPath)));
  });
  if (shell === undefined)
    throw new MbuildError('EXEC_NOT_FOUND', 'the image of --tools has no static shell', {
      exitCode: 127,
      hint: 'in another tree only programs work that need no libraries: take --tools busybox',
    });
  const rootfs = snapshots.rootfs(active);
  const home = `${HOME}/tools`;
  const shown = { target: '', subpath: '/', readonly: true } as const;
  return {
    mount:
      rootfs.kind === 'directory'
        ? { kind: 'bind', source: toRaw(rootfs.path), ...shown }
        : { kind: 'overlay', rootfs, ...shown },
    shell: [`${home}${shell}`],
    title: `${shell} of the image of --tools`,
    directories: ['/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].map(
      (directory) => `${home}${directory}`,
    ),
  };
}

/** Whether a program needs no dynamic linker. elf(5). */
function isStatic(program: Buffer): boolean {
  if (program.length < 64 || program.toString('latin1', 0, 4) !== '\x7fELF') return false;
  const wide = program[4] === 2;
  const start = wide ? Number(program.readBigUInt64LE(32)) : program.readUInt32LE(28);
  const size = program.readUInt16LE(wide ? 54 : 42);
  const count = program.readUInt16LE(wide ? 56 : 44);
  return Array.from({ length: count }, (_, i) => start + i * size).every(
    (at) => at + 4 <= program.length && program.readUInt32LE(at) !== PT_INTERP,
  );
}

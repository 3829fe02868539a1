import {
  existsSync,
  lstatSync,
  statSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { fsPath } from '../../linux/paths';
import type { BuildScope } from '../../progress/events';
import { failureError } from '../namespaces/failure';
import { InitProcess } from '../namespaces/init-process';
import type { NamespaceSandbox } from './namespaces';
import { runtimeConfig } from './oci-config';
import { runtimeProgram } from './runtime-program';
import { isInUserNamespace } from '../../linux/id-map';
import { removeTree } from '../../linux/remove-tree';
import type {
  ContainerSandbox,
  EnterSpec,
  ExitStatus,
  Mount,
  ProcessIo,
  ProcessSpec,
} from '../sandbox';
import { findInPath } from '../find-program';

/** An OCI runtime of the host. */
export interface Runtime {
  readonly name: 'crun' | 'runc';
  readonly path: string;
  /** The program mount, which crun needs besides: see oci-config.ts. */
  readonly mount?: string | undefined;
}

/**
 * The runtime of a name or path, or the first that is installed; `undefined` when there is none.
 */
export function findRuntime(wanted?: string): Runtime | undefined {
  const names = wanted === undefined ? (['crun', 'runc'] as const) : [wanted];
  for (const name of names) {
    const file = name.includes('/') ? name : findInPath(name);
    if (file === undefined || !existsSync(file)) continue;
    if (path.basename(file).includes('runc')) return { name: 'runc', path: file };
    const mount = findInPath('mount');
    if (mount !== undefined) return { name: 'crun', path: file, mount };
  }
  return undefined;
}

/**
 * Where the second version of control groups is when the first is in use too: then crun refuses to
 * start, whether it needs them or not.
 */
const BOTH_VERSIONS = '/sys/fs/cgroup/unified';

/**
 * Hands a step's command to crun or runc, with the mounts, rights and limits that
 * {@link NamespaceSandbox} gives. Around the runtime are a mount and a PID namespace: nothing that
 * it mounts or starts outlives it. Containers, which are entered and have terminals, are mbuild's
 * own.
 */
export class OciSandbox implements ContainerSandbox {
  readonly #init: InitProcess;
  readonly #state: string;

  /**
   * @param state a directory of the store for bundles.
   * @param own does what no runtime is asked to do.
   */
  constructor(
    state: string,
    private readonly runtime: Runtime,
    private readonly own: NamespaceSandbox,
  ) {
    this.#init = new InitProcess(state);
    this.#state = state;
  }

  async run(wanted: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    if (io.terminal !== undefined || io.prepare !== undefined || wanted.network === 'private')
      return this.own.run(wanted, io, scope);
    scope.signal.throwIfAborted();
    return this.own.around(wanted, io, async (spec, places) => {
      const bundle = mkdtempSync(path.join(this.#state, 'oci-'));
      const name = `mbuild-${path.basename(bundle)}`;
      const inUser = isInUserNamespace();
      const groups = this.runtime.name === 'runc' && !inUser ? `/${name}` : undefined;
      const ownSys = !inUser || spec.network !== 'host';
      try {
        spec.mounts.forEach((mount, i) => makePlace(mount, path.join(bundle, `mount${i}`)));
        writeFileSync(
          path.join(bundle, 'config.json'),
          runtimeConfig(spec, this.#init.arch, {
            root: places.root,
            bundle,
            ownSys,
            mount: this.runtime.mount,
            cgroupsPath: groups,
          }),
          { mode: 0o600 },
        );
        // A runtime's own groups have the limits where it cannot do without.
        const status = await this.#init.execute({
          ops: runtimeProgram(spec, places, {
            argv: this.#argv(bundle, name),
            bundle,
            hidesGroups: this.runtime.name === 'crun' && existsSync(BOTH_VERSIONS),
          }),
          spec: groups === undefined ? spec : { ...spec, limits: undefined },
          io,
          scope,
        });
        return checked(status, spec, bundle, this.runtime);
      } finally {
        removeTree(bundle);
        if (groups !== undefined) removeGroups(name);
      }
    });
  }

  enter(spec: EnterSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    return this.own.enter(spec, io, scope);
  }

  #argv(bundle: string, name: string): string[] {
    const groups = this.runtime.name === 'crun' ? ['--cgroup-manager=disabled'] : [];
    return [
      this.runtime.path,
      '--root',
      path.join(bundle, 'state'),
      '--log',
      path.join(bundle, 'log'),
      '--log-format',
      'json',
      ...groups,
      'run',
      '--bundle',
      bundle,
      name,
    ];
  }
}

/** Where the source of a mount is put: a file on a file, a directory on a directory. */
function makePlace(mount: Mount, place: string): void {
  if (mount.kind === 'tmpfs') return;
  const source = sourceOf(mount);
  const isFile = mount.kind === 'file' || (source !== undefined && !source.isDirectory());
  if (isFile) writeFileSync(place, '', { mode: 0o600 });
  else mkdirSync(place, { mode: 0o700 });
}

/** What is mounted, where that is a path of the host. */
function sourceOf(mount: Mount): Stats | undefined {
  if (mount.kind === 'host') return statSync(fsPath(mount.source));
  if (mount.kind !== 'bind') return undefined;
  const inner = mount.subpath === '/' ? '' : `/${mount.subpath}`;
  return lstatSync(fsPath(`${mount.source}${inner}`), { throwIfNoEntry: false });
}

/** The command's status. @throws MbuildError when the runtime says that it never began. */
function checked(
  status: ExitStatus,
  spec: ProcessSpec,
  bundle: string,
  runtime: Runtime,
): ExitStatus {
  if (status.code === 0 || !existsSync(path.join(bundle, 'log'))) return status;
  const message = lastError(readFileSync(path.join(bundle, 'log'), 'utf8'));
  if (message === undefined) return status;
  const errno = [
    [/not found|no such file/i, 'ENOENT'],
    [/permission denied|not executable/i, 'EACCES'],
    [/exec format error/i, 'ENOEXEC'],
  ] as const;
  const known = /exec|open executable|chdir/i.test(message)
    ? errno.find(([pattern]) => pattern.test(message))?.[1]
    : undefined;
  if (known === undefined)
    throw new MbuildError(
      'SANDBOX_FAILED',
      `${runtime.name} could not run the command: ${message}`,
      { hint: 'without --isolation=oci, mbuild needs no runtime' },
    );
  const isCwd = /chdir|cwd/i.test(message);
  throw failureError(
    { what: isCwd ? 'enter the working directory' : 'execute', call: isCwd ? 'chdir' : 'execve' },
    known,
    spec,
  );
}

/** The last error of a log of JSON lines. */
function lastError(log: string): string | undefined {
  const errors = log.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
    return level === 'error' || level === 'fatal' ? [msg ?? ''] : [];
  });
  return errors.at(-1);
}

/** What a runtime that was killed left of its control groups; all of their processes are gone. */
function removeGroups(name: string): void {
  const root = '/sys/fs/cgroup';
  for (const folder of existsSync(root) ? ['', ...readdirSync(root)] : []) {
    try {
      rmdirSync(path.join(root, folder, name));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
  }
}

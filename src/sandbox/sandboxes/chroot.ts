import { MbuildError } from '../../diagnostics/error';
import { isInUserNamespace, mappedIds } from '../../linux/id-map';
import { toRaw, type RawPath } from '../../linux/paths';
import type { BuildScope } from '../../progress/events';
import { heldCapabilities, type Capability } from '../capabilities';
import { Placements } from './chroot-places';
import { InitProcess, programIo } from '../namespaces/init-process';
import type { Arch } from '../namespaces/init/interpreter';
import type { Op } from '../namespaces/init/program';
import { commandOps, onlyIdOps } from '../namespaces/command-ops';
import type { ProgramIo } from '../namespaces/descriptors';
import { parentOps } from '../namespaces/parent-ops';
import { killOrphans } from '../orphans';
import type { ContainerSandbox, ExitStatus, ProcessIo, ProcessSpec } from '../sandbox';
import { stepFilter } from '../seccomp/profile';
import { isSupervised, underSupervision } from '../supervisor';

/** What is done to a tree for the time of a command. */
export interface Around {
  enter(): void;
  /** Undoes what was done, be it all or a part. */
  leave(): void;
}

/**
 * The sandbox for where nothing can be mounted and no namespace made, such as a container without
 * privileges: a changed root on a plain copy of the tree. What would be mounted is put into the
 * tree for the time of the command. There is no /proc, the processes of the surroundings are in
 * reach of signals, and read-only mounts can be written to.
 */
export class ChrootSandbox implements ContainerSandbox {
  readonly #init: InitProcess;
  readonly #held: readonly Capability[] = heldCapabilities();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param state a directory of the store, on the file system of its trees.
   * @param program how the command gets to see the tree as its root.
   * @param around what else is done to the tree before, and undone afterwards.
   */
  constructor(
    private readonly state: string,
    private readonly program: (
      spec: ProcessSpec,
      root: RawPath,
      io: ProgramIo,
      arch: Arch,
    ) => Op[] = chrootProgram,
    private readonly around?: (root: RawPath) => Around,
  ) {
    this.#init = new InitProcess(state);
  }

  /** One command at a time: caches are moved into the tree, where two could not have them. */
  run(spec: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    const turn = this.#last.then(() => this.#run(spec, io, scope));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  enter(): Promise<ExitStatus> {
    return Promise.reject(unsupported('entering a running container'));
  }

  async #run(wanted: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    scope.signal.throwIfAborted();
    if (wanted.rootfs.kind !== 'directory')
      throw new MbuildError('SANDBOX_FAILED', 'chroot needs a plain tree, not an overlay', {
        hint: 'use --snapshotter=copy',
      });
    if (wanted.network !== 'host') throw unsupported('a network of its own (--network=none)');
    if (wanted.readonlyRoot === true) throw unsupported('a read-only root');
    if (io.terminal !== undefined) throw unsupported('a terminal');
    const spec = {
      ...wanted,
      capabilities: wanted.capabilities.filter((name) => this.#held.includes(name)),
    };
    const root = toRaw(wanted.rootfs.path);
    const places = new Placements(root, this.state);
    const around = this.around?.(root);
    try {
      places.put(spec);
      around?.enter();
      const { arch } = this.#init;
      const execute = (own: ProcessIo, supervised?: Uint8Array): Promise<ExitStatus> =>
        this.#init.execute({
          ops: this.program(spec, root, { ...programIo(own), supervised }, arch),
          spec,
          io: own,
          scope,
          ended: killOrphans,
        });
      if (this.program !== chrootProgram || !mayFilter(spec) || !isSupervised(spec, ownIds()))
        return await execute(io);
      return await underSupervision(arch, io, (own) =>
        execute(own, stepFilter(arch, spec, 'supervised')),
      );
    } finally {
      around?.leave();
      for (const target of places.undo()) io.rewritten?.(target);
    }
  }
}

function chrootProgram(spec: ProcessSpec, root: RawPath, io: ProgramIo, arch: Arch): Op[] {
  const ids = ownIds();
  const filter = mayFilter(spec)
    ? stepFilter(arch, spec, ids === 'one' ? 'pretended' : undefined)
    : undefined;
  return [
    ...parentOps(0, true),
    // Who has changed his root can make no user namespace.
    ...onlyIdOps(spec, ids),
    { what: 'enter the root', call: 'chdir', args: [{ path: root }] },
    { what: 'change the root', call: 'chroot', args: [{ text: '.' }] },
    ...commandOps(spec, { ...io, ids, filter }),
  ];
}

function ownIds(): 'one' | undefined {
  return isInUserNamespace() && mappedIds() === 1 ? 'one' : undefined;
}

/** In a user namespace there is the right to filter, even where nothing can be mounted. */
function mayFilter({ confined }: ProcessSpec): boolean {
  return confined && heldCapabilities().includes('SYS_ADMIN');
}

function unsupported(what: string): MbuildError {
  return new MbuildError('UNSUPPORTED', `${what} needs namespaces, which are not possible here`, {
    hint: 'to learn how to get them, run `mbuild doctor`',
  });
}

import type { KeyValue } from '../cache/key';
import type { CopyOperation, MkdirOperation, RunMount, RunOperation } from '../graph/graph';

/**
 * The inputs of a step's key, as far as its operation tells them. Builds and replays of a history
 * make keys of the same.
 */
export type OperationInputs = Readonly<Record<string, KeyValue>>;

/** @param mounts one for each mount, see {@link mountInput}. */
export function runInputs(operation: RunOperation, mounts: readonly KeyValue[]): OperationInputs {
  return {
    args: operation.args,
    env: [...operation.env].sort(),
    cwd: operation.cwd,
    user: operation.user,
    network: operation.network,
    insecure: operation.insecure,
    ...settingInputs(operation),
    mounts,
  };
}

/**
 * What only some steps have: devices, and settings of the command line that may change what a step
 * leaves; limits are none.
 */
function settingInputs({
  capabilities,
  noNewPrivileges,
  hostname,
  devices,
  volumes,
}: RunOperation): OperationInputs {
  const settings = {
    capabilities,
    noNewPrivileges,
    hostname,
    devices: devices?.map(({ name, required }) => ({ name, required })),
    volumes: volumes?.map(({ source, target, readonly }) => ({ source, target, readonly })),
  };
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value]],
    ),
  );
}

/** @param content what the tree holds that the mount shows or begins with, where it has one. */
export function mountInput(mount: RunMount, content: KeyValue): KeyValue {
  switch (mount.kind) {
    case 'bind':
      return { kind: 'bind', target: mount.target, readonly: mount.readonly, content };
    case 'cache': {
      const { from: _from, ...said } = mount;
      return { ...said, content };
    }
    case 'tmpfs':
    case 'script':
      return { ...mount };
    case 'secret': {
      // Keyed by its name: its value may change without the step being run again.
      const { kind, id, target, env, mode, uid, gid } = mount;
      return { kind, id, target, env, mode, uid, gid };
    }
    case 'ssh':
      return { kind: mount.kind, id: mount.id, target: mount.target };
  }
}

/** @param owner `[uid, gid]` of `--chown`. @param sources one for each source, in order. */
export function copyInputs(
  operation: CopyOperation,
  owner: KeyValue,
  sources: readonly KeyValue[],
): OperationInputs {
  return {
    dest: operation.dest,
    owner,
    chmod: operation.chmod,
    link: operation.link,
    unpack: unpacks(operation),
    sources,
  };
}

/** Whether a copy unpacks archives: ADD does, COPY does not, unless it is written. */
export function unpacks({ unpack, instruction }: CopyOperation): boolean {
  return unpack ?? instruction === 'ADD';
}

export function mkdirInputs({ path, user }: MkdirOperation): OperationInputs {
  return { path, user };
}

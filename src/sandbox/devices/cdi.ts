import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { JsonError, count, dictionary, list, object, text, type JsonReader } from '../../oci/json';

/**
 * Where specifications of devices are looked for; what a later folder says of a device counts.
 * SPEC.md of the Container Device Interface 1.1.0, and BuildKit's own.
 */
export const CDI_FOLDERS: readonly string[] = ['/etc/cdi', '/var/run/cdi', '/etc/buildkit/cdi'];

/** BuildKit's annotation for devices that a build may use without being allowed to. */
const AUTO_ALLOW = 'org.mobyproject.buildkit.device.autoallow';
/** BuildKit's annotation for a name that several devices share. */
const CLASS = 'org.mobyproject.buildkit.device.class';

/** A file or device of the host, and where it goes. */
export interface HostPath {
  readonly hostPath: string;
  readonly path: string;
}

/** What a step with some devices has besides its own. */
export interface DeviceEdits {
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly nodes: readonly HostPath[];
  readonly mounts: readonly (HostPath & { readonly readonly: boolean })[];
  /** Groups of the process. */
  readonly gids: readonly number[];
}

/** A device that a specification describes. */
export interface CdiDevice {
  /** `vendor/class=device` */
  readonly name: string;
  /** `vendor/class` */
  readonly kind: string;
  /** It may be used by who is not allowed to use devices. */
  readonly autoAllowed: boolean;
  /** A name instead of its own that it shares with others. */
  readonly class?: string | undefined;
  /** What is to be done for it: its own edits, and those of its specification. */
  readonly edits: readonly ContainerEdits[];
}

/** SPEC.md, "CDI JSON Specification": what is read of it here. */
interface Specification {
  readonly kind: string;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly devices: readonly {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>> | undefined;
    readonly containerEdits: ContainerEdits;
  }[];
  readonly containerEdits?: ContainerEdits | undefined;
}

/** SPEC.md, "containerEdits". */
export interface ContainerEdits {
  readonly env?: readonly string[] | undefined;
  readonly deviceNodes?: readonly DeviceNode[] | undefined;
  readonly mounts?: readonly DeviceMount[] | undefined;
  readonly additionalGids?: readonly number[] | undefined;
}

interface DeviceNode {
  readonly path: string;
  readonly hostPath?: string | undefined;
}

interface DeviceMount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly type?: string | undefined;
  readonly options?: readonly string[] | undefined;
}

/** Of `containerEdits`, what can be done here. */
const DONE: readonly string[] = ['env', 'deviceNodes', 'mounts', 'additionalGids'];

/** The devices that some folders' specifications describe. */
export class DeviceRegistry {
  /** By name; of a device that two files of one folder describe nobody can say which one it is. */
  readonly #devices = new Map<string, Described>();

  private constructor(readonly folders: readonly string[]) {}

  /** @throws MbuildError DEVICE_SPEC for a specification that cannot be read. */
  static async read(folders: readonly string[]): Promise<DeviceRegistry> {
    const registry = new DeviceRegistry(folders);
    for (const folder of folders) {
      const seen = new Map<string, string>();
      for (const file of specificationsIn(folder)) {
        for (const device of await readSpecification(file)) {
          const other = seen.get(device.name);
          registry.#devices.set(
            device.name,
            other === undefined ? device : { conflict: [other, file] },
          );
          seen.set(device.name, file);
        }
      }
    }
    return registry;
  }

  /**
   * The devices that a request means: `vendor/class=device` (or a class of BuildKit's annotation),
   * `vendor/class=*` for all, `vendor/class` for the first. Empty when there is none.
   * @throws MbuildError DEVICE_SPEC when two specifications claim the one that is meant.
   */
  find(request: string): readonly CdiDevice[] {
    const [kind = '', device] = splitName(request);
    const all = [...this.#devices]
      .filter(([name]) => name.startsWith(`${kind}=`))
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return wantedOf(all, request, device).map(([name, found]) => {
      if ('conflict' in found)
        throw new MbuildError(
          'DEVICE_SPEC',
          `the device ${name} is described twice: in ${found.conflict.join(' and ')}`,
          { hint: 'remove one of them' },
        );
      return found;
    });
  }

  /** Names of all devices, in order. */
  names(): string[] {
    return [...this.#devices.keys()].sort();
  }
}

type Described = CdiDevice | { readonly conflict: readonly string[] };

/**
 * Which of a kind's devices are meant: the first, all, the one of the name, or those of a class.
 */
function wantedOf(
  all: readonly (readonly [string, Described])[],
  request: string,
  device: string | undefined,
): readonly (readonly [string, Described])[] {
  if (device === undefined) return all.slice(0, 1);
  if (device === '*') return all;
  const own = all.filter(([name]) => name === request);
  if (own.length > 0) return own;
  return all.filter(([, found]) => 'class' in found && found.class === device);
}

/** `vendor/class` and what stands behind the `=`, if anything does. */
function splitName(name: string): [kind: string, device: string | undefined] {
  const at = name.indexOf('=');
  return at < 0 ? [name, undefined] : [name.slice(0, at), name.slice(at + 1) || undefined];
}

/**
 * All that a step with these devices is given; what several bring it is given once.
 * @throws MbuildError UNSUPPORTED for what mbuild does for no device: hooks, which are programs
 * outside of the sandbox, network interfaces, Intel RDT.
 */
export function editsOf(devices: readonly CdiDevice[]): DeviceEdits {
  for (const { name, edits } of devices) {
    const [foreign] = edits
      .flatMap((edit) => Object.keys(edit))
      .filter((key) => !DONE.includes(key));
    if (foreign !== undefined)
      throw new MbuildError(
        'UNSUPPORTED',
        `the device ${name} needs ${foreign}, which mbuild does not support`,
        { hint: `mbuild supports ${DONE.join(', ')}` },
      );
  }
  const edits = [...new Set(devices.flatMap((device) => device.edits))];
  return {
    env: edits.flatMap((edit) => edit.env ?? []),
    nodes: edits.flatMap((edit) =>
      (edit.deviceNodes ?? []).map((node) => ({
        hostPath: node.hostPath ?? node.path,
        path: node.path,
      })),
    ),
    mounts: edits.flatMap((edit) =>
      (edit.mounts ?? []).map(({ hostPath, containerPath, options = [] }) => ({
        hostPath,
        path: containerPath,
        readonly: options.includes('ro'),
      })),
    ),
    gids: edits.flatMap((edit) => edit.additionalGids ?? []),
  };
}

function specificationsIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.(json|ya?ml)$/.test(name))
      .sort()
      .map((name) => path.join(folder, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function readSpecification(file: string): Promise<CdiDevice[]> {
  const { kind, annotations, devices, containerEdits } = checked(await parseFile(file), file);
  return devices.map((device) => {
    const notes = { ...annotations, ...device.annotations };
    return {
      name: `${kind}=${device.name}`,
      kind,
      autoAllowed: notes[AUTO_ALLOW] === 'true',
      class: notes[CLASS],
      edits: [...(containerEdits === undefined ? [] : [containerEdits]), device.containerEdits],
    };
  });
}

/** JSON is YAML as well. */
async function parseFile(file: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new MbuildError(
      'DEVICE_SPEC',
      `cannot read the device specification ${file}: ${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)}`,
      { cause },
    );
  }
}

/** @throws MbuildError DEVICE_SPEC for what is not a specification. */
function checked(value: unknown, file: string): Specification {
  try {
    const { kind = '', devices, ...rest } = SPECIFICATION(value, '');
    if (!/^[^/=\s]+\/[^/=\s]+$/.test(kind))
      throw new JsonError('has a kind that is not vendor/class');
    if (devices === undefined) throw new JsonError('has no devices');
    return { ...rest, kind, devices: devices.map(deviceOf) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError(
      'DEVICE_SPEC',
      `${file} is not a valid device specification: it ${error.message}`,
    );
  }
}

function deviceOf({
  name,
  annotations,
  containerEdits,
}: ReturnType<typeof DEVICE>): Specification['devices'][number] {
  if (name === undefined || name === '') throw new JsonError('has a device without a name');
  if (containerEdits === undefined)
    throw new JsonError(`has no containerEdits for the device ${JSON.stringify(name)}`);
  return { name, annotations, containerEdits };
}

const variable: JsonReader<string> = (value, at) => {
  const read = text(value, at);
  if (!read.includes('='))
    throw new JsonError(`has a ${JSON.stringify(at)} that is not NAME=value`);
  return read;
};

const absolute: JsonReader<string> = (value, at) => {
  const read = text(value, at);
  if (path.posix.isAbsolute(read) && !read.includes('\0')) return read;
  throw new JsonError(`has a ${JSON.stringify(at)} that is not an absolute path`);
};

const NODE: JsonReader<DeviceNode> = (value, at) => {
  const { path: inside, ...rest } = object({ path: absolute, hostPath: absolute })(value, at);
  if (inside === undefined) throw new JsonError('has a device node without a path');
  return { ...rest, path: inside };
};

const MOUNT: JsonReader<DeviceMount> = (value, at) => {
  const members = { hostPath: absolute, containerPath: absolute, type: text, options: list(text) };
  const { hostPath, containerPath, ...rest } = object(members)(value, at);
  if (hostPath === undefined || containerPath === undefined)
    throw new JsonError('has a mount without hostPath or containerPath');
  return { ...rest, hostPath, containerPath };
};

const EDITS: JsonReader<ContainerEdits> = object({
  env: list(variable),
  deviceNodes: list(NODE),
  mounts: list(MOUNT),
  additionalGids: list(count),
});
const DEVICE = object({ name: text, annotations: dictionary(text, ''), containerEdits: EDITS });
const SPECIFICATION = object({
  kind: text,
  annotations: dictionary(text, ''),
  devices: list(DEVICE),
  containerEdits: EDITS,
});

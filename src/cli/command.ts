import type { FlagTable, ParsedArgs } from './args';
import type { Host } from './host';
import { ISOLATIONS } from '../sandbox/isolations/isolations';
import { SNAPSHOTTERS } from '../snapshot/kinds/kinds';

/** One subcommand. */
export interface CommandOf<T extends FlagTable> {
  /** As it is called, e.g. `system df`. */
  readonly name: string;
  /** One sentence without a full stop. */
  readonly summary: string;
  /** What follows the name, one line per form: `[OPTIONS] IMAGE [IMAGE...]`. */
  readonly usage: readonly string[];
  readonly flags: T;
  /** How many words that are no flags. */
  readonly positionals: { readonly min: number; readonly max: number };
  /** The first of them ends the flags. */
  readonly stopAtPositional?: boolean | undefined;
  /** Not shown in overviews. */
  readonly hidden?: boolean | undefined;
  /** Further lines of `--help`. */
  readonly notes?: readonly string[] | undefined;
  /** Returns the exit code. */
  run(args: ParsedArgs<T & typeof GLOBAL_FLAGS>, host: Host): Promise<number>;
}

/** A subcommand whose flags have been forgotten by the type system. */
export type Command = Omit<CommandOf<FlagTable>, 'run'> & {
  run(args: ParsedArgs<FlagTable>, host: Host): Promise<number>;
};

/** Flags of every command; they may also stand before its name. */
export const GLOBAL_FLAGS = {
  root: {
    kind: 'string',
    value: 'DIR',
    global: true,
    help: 'Directory of the store (default: /var/lib/mbuild for root, $XDG_DATA_HOME/mbuild for others)',
  },
  authfile: {
    kind: 'string',
    value: 'PATH',
    global: true,
    help: 'Read credentials only from this file',
  },
  'insecure-registry': {
    kind: 'list',
    value: 'HOST',
    global: true,
    help: 'Do not check the certificate of this registry',
  },
  'signature-policy': {
    kind: 'string',
    value: 'FILE',
    global: true,
    env: ['MBUILD_SIGNATURE_POLICY'],
    help: 'Allow only images that this policy.json allows (default: ~/.config/containers/policy.json, /etc/containers/policy.json)',
  },
  offline: {
    kind: 'boolean',
    global: true,
    help: 'Do not use the network: fail if something is not in the store',
  },
  isolation: {
    kind: 'string',
    value: 'KIND',
    global: true,
    env: ['BUILDAH_ISOLATION'],
    help: `How RUN is isolated: ${ISOLATIONS.map(({ name }) => name).join(', ')} (default: auto, the best that works)`,
  },
  runtime: {
    kind: 'string',
    value: 'PROGRAM',
    global: true,
    env: ['BUILDAH_RUNTIME'],
    help: 'The runtime of --isolation=oci (default: crun, else runc)',
  },
  snapshotter: {
    kind: 'string',
    value: 'KIND',
    global: true,
    choices: ['auto', ...SNAPSHOTTERS.map(({ name }) => name)],
    help: 'How to store file trees (default: auto)',
  },
  debug: { kind: 'boolean', short: 'D', global: true, help: 'Show the stack trace of errors' },
} as const satisfies FlagTable;

/** Flags of the commands that fetch and send images. */
export const RETRY_FLAGS = {
  retry: {
    kind: 'number',
    value: 'N',
    help: 'Retry a transfer this many times after a temporary failure (default: 4)',
  },
  'retry-delay': {
    kind: 'string',
    value: 'TIME',
    help: 'Wait this long before the first retry, such as 500ms or 2s; the wait doubles each time (default: 250ms)',
  },
} as const satisfies FlagTable;

/** Flags of the commands that send images. */
export const PUSH_FLAGS = {
  ...RETRY_FLAGS,
  'push-chunk-size': {
    kind: 'string',
    value: 'BYTES',
    env: ['MBUILD_PUSH_CHUNK_SIZE'],
    help: 'Send layers in pieces of this size, such as 4m (default: whole, and in pieces if the registry refuses that)',
  },
} as const satisfies FlagTable;

/** A command whose `run` is given its flags by their types. */
export function defineCommand<const T extends FlagTable>(command: CommandOf<T>): Command {
  return {
    ...command,
    run: (args, host) => command.run(args as unknown as ParsedArgs<T & typeof GLOBAL_FLAGS>, host),
  };
}

/**
 * The part of a command's name in its variables; the build has none, so that `MBUILD_TAG` is
 * `build --tag`.
 */
export function envPrefixOf(name: string): string | undefined {
  return name === 'build' ? undefined : name.replace(/ /g, '_');
}

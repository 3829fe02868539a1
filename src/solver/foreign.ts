import { closeSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { openForReading } from '../context/hash-files';
import { namesIn } from '../content/files';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { toRaw } from '../linux/paths';
import { hostPlatform } from '../oci/platform';
import type { MergedView } from '../snapshot/view';

/** A program of another architecture. */
export interface ForeignProgram {
  readonly file: string;
  /** As platforms name it; `undefined` for one that has no name there. */
  readonly architecture: string | undefined;
  /** Whether the kernel hands such programs to an emulator; `unknown` where that cannot be seen. */
  readonly emulator: 'registered' | 'missing' | 'unknown';
}

/** e_machine of ELF headers, <elf.h>. */
const MACHINES: ReadonlyMap<number, string> = new Map([
  [3, '386'],
  [8, 'mips'],
  [20, 'ppc'],
  [21, 'ppc64'],
  [22, 's390x'],
  [40, 'arm'],
  [62, 'amd64'],
  [183, 'arm64'],
  [243, 'riscv64'],
  [258, 'loong64'],
]);
/** What a machine runs besides its own programs. */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  amd64: ['386'],
  arm64: ['arm'],
  ppc64le: ['ppc64'],
  ppc64: ['ppc'],
  mips64le: ['mips'],
  mipsle: ['mips'],
};
const HEADER = 128;
const BINFMT = '/proc/sys/fs/binfmt_misc';

/**
 * The shell (or the command that is named by its path), where this machine cannot run it by itself.
 */
export function foreignProgram(
  view: MergedView,
  command: string | undefined,
): ForeignProgram | undefined {
  const file = command?.startsWith('/') === true ? command : '/bin/sh';
  const header = headerOf(view, file);
  if (header === undefined || header.length < 20 || header.toString('latin1', 0, 4) !== '\x7fELF')
    return undefined;
  // EI_DATA: 1 is little-endian.
  const architecture = MACHINES.get(
    header[5] === 1 ? header.readUInt16LE(18) : header.readUInt16BE(18),
  );
  const own = hostPlatform().architecture;
  if (
    architecture === own ||
    (architecture !== undefined && ALSO[own]?.includes(architecture) === true)
  )
    return undefined;
  return { file, architecture, emulator: emulatorFor(header) };
}

/** The error for a program that nothing here runs. */
export function cannotRun({ file, architecture }: ForeignProgram): MbuildError {
  const own = hostPlatform().architecture;
  return new MbuildError(
    'PLATFORM_UNSUPPORTED',
    `${file} of the image is for ${architecture ?? 'an unknown architecture'}, but this machine is ${own}, and no emulator is registered`,
    {
      hint: `register one: apt-get install qemu-user-static binfmt-support, or docker run --privileged --rm tonistiigi/binfmt --install ${architecture ?? 'all'}; or run the step in a stage FROM --platform=$BUILDPLATFORM`,
    },
  );
}

function headerOf(view: MergedView, file: string): Buffer | undefined {
  const entry = view.stat(toRaw(file));
  if (entry?.stats.isFile() !== true) return undefined;
  const fd = openForReading(entry.hostPath);
  try {
    const header = Buffer.alloc(HEADER);
    return header.subarray(0, readSync(fd, header, 0, HEADER, 0));
  } finally {
    closeSync(fd);
  }
}

/**
 * Compares the header with what is registered. Linux, Documentation/admin-guide/binfmt-misc.rst.
 */
function emulatorFor(header: Buffer): ForeignProgram['emulator'] {
  const names = namesIn(BINFMT);
  // Not mounted here: there may be registrations all the same, unless the kernel knows nothing of
  // them.
  if (!names.includes('status')) return knowsBinfmt() ? 'unknown' : 'missing';
  const isRegistered = names.some(
    (name) =>
      name !== 'status' &&
      name !== 'register' &&
      matches(readText(path.join(BINFMT, name)), header),
  );
  return isRegistered ? 'registered' : 'missing';
}

/** True for an enabled registration whose magic the header has. */
export function matches(registration: string, header: Buffer): boolean {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name} (\\S+)$`, 'm').exec(registration)?.[1];
  const magic = field('magic');
  if (!registration.startsWith('enabled') || magic === undefined) return false;
  const bytes = Buffer.from(magic, 'hex');
  const mask = Buffer.from(field('mask') ?? 'ff'.repeat(bytes.length), 'hex');
  const offset = Number(field('offset') ?? 0);
  return bytes.every(
    (byte, i) => ((header[offset + i] ?? 0) & (mask[i] ?? 0xff)) === (byte & (mask[i] ?? 0xff)),
  );
}

function knowsBinfmt(): boolean {
  return /\bbinfmt_misc$/m.test(readText('/proc/filesystems'));
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return '';
  }
}

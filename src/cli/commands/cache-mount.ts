import { visible } from '../../diagnostics/visible';
import { createReadStream, createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  exportMount,
  importMount,
  listMounts,
  mountContent,
  removeMount,
  type KeptMount,
} from '../../cache/mounts';
import { MbuildError } from '../../diagnostics/error';
import { treeSize } from '../../linux/tree-size';
import { familiarName, parseReference, type Reference } from '../../oci/reference';
import { humanSize } from '../../progress/units';
import { readSize } from '../cache-limit';
import { defineCommand } from '../command';
import { untilTime } from '../format/images';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { humanSince } from '../format/time';
import { note } from '../host';
import { knownStoreRoot, withServices } from '../services';
import { writeBytes } from '../streams';

const SHAPE: ListShape = {
  fields: {
    ID: 'ID',
    Copy: 'COPY',
    Owner: 'OWNER',
    Size: 'SIZE',
    Files: 'FILES',
    UsedSince: 'USED',
    CreatedSince: 'CREATED',
    InUse: 'IN USE',
    Folder: 'DIRECTORY',
  },
  columns: ['ID', 'Copy', 'Owner', 'Size', 'Files', 'UsedSince', 'InUse'],
};

export const list = defineCommand({
  name: 'cache-mount ls',
  summary: 'List the directories of RUN --mount=type=cache',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
  },
  run: async ({ flags }, host) => {
    host.out.write(
      renderList(
        SHAPE,
        listMounts(await knownStoreRoot(flags.root, host)).map((mount) => rowOf(mount, host.now())),
        flags.format,
      ),
    );
    return 0;
  },
});

function rowOf(
  { id, copy, owner, bytes, files, used, created, inUse, folder, seeded }: KeptMount,
  now: number,
): ListRow {
  return {
    ID: id,
    Copy: copyText(copy, seeded),
    Owner: owner ?? '',
    Size: humanSize(bytes),
    Bytes: String(bytes),
    Files: String(files),
    UsedSince: humanSince(used, now),
    CreatedSince: humanSince(created, now),
    InUse: String(inUse),
    Folder: folder,
  };
}

export const exportCommand = defineCommand({
  name: 'cache-mount export',
  summary: 'Write the content of a cache mount as a tar, or to a registry',
  usage: ['[OPTIONS] ID'],
  positionals: { min: 1, max: 1 },
  flags: {
    output: {
      kind: 'string',
      short: 'o',
      value: 'FILE',
      help: 'Write to this file instead of standard output; compressed if its name ends in .gz',
    },
    ref: {
      kind: 'string',
      value: 'NAME',
      help: 'Push it to a registry under this name; parts that the last export sent are not sent again',
    },
    'max-size': {
      kind: 'string',
      value: 'BYTES',
      help: 'Fail if the files of the cache are larger',
    },
  },
  run: async ({ flags, positionals: [id = ''] }, host) => {
    const root = await knownStoreRoot(flags.root, host);
    if (flags['max-size'] !== undefined)
      refuseLarger(mountContent(root, id), id, readSize(flags['max-size']));
    if (flags.ref !== undefined) {
      if (flags.output !== undefined)
        throw new MbuildError('USAGE', '--output and --ref cannot be used together', {
          hint: 'run the command once for each',
        });
      const ref = readRef(flags.ref);
      const { pushMount } = await import('../../cache/mount-registry');
      const { digest, changed, parts, newParts, newBytes } = await withServices(
        host,
        flags,
        (services) => pushMount(id, ref, { ...services, signal: host.signal }),
      );
      note(
        host,
        changed
          ? `${newParts} of ${parts} part${parts === 1 ? '' : 's'} sent, ${humanSize(newBytes)}`
          : `${flags.ref} is up to date: nothing was sent`,
      );
      host.out.write(`${digest}\n`);
      return 0;
    }
    const tar = exportMount(root, id);
    if (flags.output === undefined) {
      if (host.out.isTTY)
        throw new MbuildError('USAGE', 'refusing to write an archive to a terminal', {
          hint: 'redirect standard output, or use -o FILE',
        });
      for await (const chunk of tar) await writeBytes('stdout', chunk);
      return 0;
    }
    const file = createWriteStream(flags.output);
    if (!flags.output.endsWith('.gz')) await pipeline(Readable.from(tar), file);
    else await pipeline(Readable.from(tar), (await import('node:zlib')).createGzip(), file);
    return 0;
  },
});

/** @throws MbuildError LIMIT_EXCEEDED. */
function refuseLarger(dir: string, id: string, most: number): void {
  const { bytes } = treeSize(dir);
  if (bytes > most)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `the cache mount ${id} has ${humanSize(bytes)}, more than ${humanSize(most)}`,
      {
        hint: 'nothing was exported; to start again with an empty cache: mbuild cache-mount prune ID',
      },
    );
}

export const importCommand = defineCommand({
  name: 'cache-mount import',
  summary: 'Fill a cache mount with the files of a tar, or from a registry',
  usage: ['ID [FILE|-]', 'ID --ref NAME [--ref NAME...]'],
  positionals: { min: 1, max: 2 },
  flags: {
    ref: {
      kind: 'list',
      value: 'NAME',
      help: 'Fetch the export of this name; if given several times, the first name that exists',
    },
  },
  notes: ['The content of the cache is replaced. The tar may be compressed.'],
  run: async ({ flags, positionals: [id = '', file = '-'] }, host) => {
    if (flags.ref.length > 0) {
      const refs = flags.ref.map(readRef);
      const { pullMount } = await import('../../cache/mount-registry');
      const found = await withServices(host, flags, (services) =>
        pullMount(id, refs, { ...services, signal: host.signal }),
      );
      if (refs.length > 1) note(host, `filled from ${familiarName(found)}`);
      return 0;
    }
    await importMount(
      await knownStoreRoot(flags.root, host),
      id,
      file === '-' ? host.stdin() : createReadStream(file),
    );
    return 0;
  },
});

export const prune = defineCommand({
  name: 'cache-mount prune',
  summary: 'Delete cache mounts',
  usage: ['[OPTIONS] [ID...]'],
  positionals: { min: 0, max: Infinity },
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Delete all of them' },
    until: {
      kind: 'string',
      value: 'TIME',
      help: 'Delete those not used since a time, or for a time such as 240h',
    },
  },
  run: async ({ flags, positionals: ids }, host) => {
    if (ids.length === 0 && !flags.all && flags.until === undefined)
      throw new MbuildError('USAGE', 'which cache mounts should be deleted?', {
        hint: 'give their ids, or use --all or --until',
      });
    const before = flags.until === undefined ? Infinity : untilTime(flags.until, host.now());
    const mounts = listMounts(await knownStoreRoot(flags.root, host));
    const missing = ids.find((id) => !mounts.some((mount) => mount.id === id));
    if (missing !== undefined)
      throw new MbuildError('USAGE', `the cache mount ${missing} does not exist`, {
        hint: "list them with 'mbuild cache-mount ls'",
      });
    const chosen = mounts.filter(
      (mount) => (ids.length === 0 || ids.includes(mount.id)) && Date.parse(mount.used) < before,
    );
    for (const mount of chosen) {
      removeMount(mount);
      host.out.write(`${visible(mount.id)}\n`);
    }
    host.out.write(
      `Total reclaimed space: ${humanSize(chosen.reduce((sum, { bytes }) => sum + bytes, 0))}\n`,
    );
    return 0;
  },
});

/** @throws MbuildError REFERENCE_INVALID. */
function readRef(text: string): Reference {
  const ref = parseReference(text);
  if (ref === undefined)
    throw new MbuildError('REFERENCE_INVALID', `invalid reference ${JSON.stringify(text)}`, {
      hint: 'write [registry/]repository[:tag]',
    });
  return ref;
}

function copyText(copy: number, seeded: boolean): string {
  if (seeded) return 'seeded';
  return copy === 0 ? '' : String(copy);
}

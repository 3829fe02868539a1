import { existsSync } from 'node:fs';
import { arch, release } from 'node:os';
import { dirname } from 'node:path';
import { temporaryDirectory } from '../../content/temporary';
import { errnoOf } from '../../diagnostics/error';
import { removeTree } from '../../linux/remove-tree';
import { examineIsolation, type Examination } from '../../sandbox/isolations/examine';
import { findFuseOverlayfs } from '../../sandbox/isolations/fuse';
import { isolationOf } from '../../sandbox/isolations/isolations';
import { fileSystemOf, probeMarks } from '../../snapshot/ground';
import { readGround } from '../../snapshot/ground-file';
import { defineCommand } from '../command';
import { storeFacts, storeText, type StoreFacts } from '../format/store-facts';
import { layOutTable } from '../format/table';
import { goJson } from '../format/go-value';
import type { Host } from '../host';
import { storeRoot } from '../services';

export const command = defineCommand({
  name: 'doctor',
  summary: 'Show how builds are isolated on this machine, and what would improve it',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json'],
      fallback: 'text',
      help: 'text or json',
    },
  },
  notes: ['The exit code is 1 if RUN cannot be isolated at all.'],
  run: async ({ flags }, host) => {
    const root = storeRoot(flags.root, host);
    const examination = await inScratch(root, (scratch) => examineIsolation(scratch, host.uid));
    const store = {
      ...examineStore(root, examination),
      fuse: await inScratch(root, (scratch) => examineFuse(scratch, examination)),
    };
    if (flags.format === 'json')
      host.out.write(
        `${goJson({ ...examination, store, kernel: release(), arch: arch(), node: process.version })}\n`,
      );
    else printText(examination, store, host);
    return examination.chosen === undefined ? 1 : 0;
  },
});

function examineStore(root: string, { chosen }: Examination): StoreFacts {
  let place = root;
  while (!existsSync(place)) place = dirname(place);
  const fileSystem = fileSystemOf(place);
  try {
    return storeFacts(
      { root, fileSystem, known: readGround(root), ground: () => probeMarks(place) },
      chosen,
    );
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM') throw error;
    return {
      root,
      fileSystem,
      snapshotter: 'none',
      why: `${place} cannot be written (${code})`,
      fix: 'choose a directory of your own with --root',
    };
  }
}

/** Never chosen by itself. */
function examineFuse(scratch: string, { chosen }: Examination): StoreFacts['fuse'] {
  if (chosen === undefined || !isolationOf(chosen).mounts) return undefined;
  const found = findFuseOverlayfs(scratch);
  if ('obstacle' in found) return { works: false, why: found.obstacle, fix: found.fix };
  return {
    works: true,
    why: 'with --snapshotter=fuse-overlayfs, serves trees without copying them; docs/isolation.md lists its faults',
  };
}

function printText(
  { rungs, chosen, seccomp, limits, limitsFix }: Examination,
  store: StoreFacts,
  { out }: Host,
): void {
  out.write(`Isolation: ${chosen ?? 'none: RUN cannot be isolated here'}\n`);
  out.write(
    layOutTable(rungs.map(({ name, works, why }) => ['', name, works ? 'works' : 'no', why])),
  );
  for (const { name, fix } of rungs)
    if (fix !== undefined) out.write(`   to get ${name}: ${fix}\n`);
  out.write(`System calls: ${seccomp}\n`);
  out.write(`Limits: ${limits}\n`);
  if (limitsFix !== undefined) out.write(`   to get limits: ${limitsFix}\n`);
  out.write(storeText(store));
}

async function inScratch<T>(root: string, use: (scratch: string) => T | Promise<T>): Promise<T> {
  const scratch = temporaryDirectory('doctor', root);
  try {
    return await use(scratch);
  } finally {
    removeTree(scratch);
  }
}

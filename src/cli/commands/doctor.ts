import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { arch, release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { examineIsolation, type Examination } from '../../sandbox/examine';
import { fileSystemOf, probeMarks, readGround, type Ground } from '../../snapshot/ground';
import { defineCommand } from '../command';
import { layOutTable } from '../format/table';
import { goJson } from '../format/go-value';
import type { Host } from '../host';
import { storeRoot } from '../services';

/** What is known of the place where the store is or would be. */
interface StoreFacts {
  readonly root: string;
  readonly fileSystem: string;
  readonly snapshotter: 'overlay' | 'copy';
  readonly why?: string | undefined;
  readonly fix?: string | undefined;
}

export const command = defineCommand({
  name: 'doctor',
  summary: 'Show how builds are isolated here, and what would be needed for better',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', value: 'FORMAT', choices: ['text', 'json'], fallback: 'text', help: 'text or json' },
  },
  notes: ['The exit code is 1 when RUN cannot be isolated at all.'],
  run: async ({ flags }, host) => {
    const examination = inScratch((scratch) => examineIsolation(scratch, host.uid));
    const store = examineStore(storeRoot(flags.root, host), examination);
    if (flags.format === 'json') host.out.write(`${goJson({ ...examination, store, kernel: release(), arch: arch(), node: process.version })}\n`);
    else printText(examination, store, host);
    return examination.chosen === undefined ? 1 : 0;
  },
});

function examineStore(root: string, { chosen }: Examination): StoreFacts {
  let place = root;
  while (!existsSync(place)) place = dirname(place);
  const facts = { root, fileSystem: fileSystemOf(place) };
  let ground: Pick<Ground, 'marks' | 'reason'>;
  try {
    ground = readGround(root) ?? probeMarks(place);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM') throw error;
    return { ...facts, snapshotter: 'copy', why: `${place} cannot be written (${code})`, fix: 'choose a folder of your own with --root' };
  }
  if (chosen === 'chroot') return { ...facts, snapshotter: 'copy', why: 'nothing can be mounted' };
  if (ground.marks !== 'files') return { ...facts, snapshotter: 'overlay' };
  const fix = facts.fileSystem === 'overlay' ? `put the store on a volume: docker run -v mbuild:${root} …` : 'put the store on a local file system: --root DIR';
  return { ...facts, snapshotter: 'copy', why: ground.reason, fix };
}

function printText({ rungs, chosen, seccomp, limits }: Examination, store: StoreFacts, { out }: Host): void {
  out.write(`Isolation: ${chosen ?? 'none: RUN cannot be isolated here'}\n`);
  out.write(layOutTable(rungs.map(({ name, works, why }) => ['', name, works ? 'works' : 'no', why])));
  for (const { name, fix } of rungs) if (fix !== undefined) out.write(`   to have ${name}: ${fix}\n`);
  out.write(`System calls: ${seccomp}\n`);
  out.write(`Limits: ${limits}\n`);
  out.write(`Store: ${store.root} on ${store.fileSystem}, trees by ${store.snapshotter}${store.why === undefined ? '' : ` (${store.why})`}\n`);
  if (store.fix !== undefined) out.write(`   to have overlays: ${store.fix}\n`);
}

function inScratch<T>(use: (scratch: string) => T): T {
  const scratch = mkdtempSync(join(tmpdir(), 'mbuild-doctor-'));
  try {
    return use(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

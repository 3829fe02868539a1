import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { fsPath, toText } from '../linux/paths';
import type { MergedView } from '../snapshot/view';
import { statementText, type Attestation, type Subject } from './attestation';
import { treeEntries } from './tree';

/** Attestations about files, and where they are to be written beside them. */
export interface FileAttestations {
  readonly attestations: readonly Attestation[];
  /** Stands before each file's name. */
  readonly prefix?: string | undefined;
  /** `os_architecture`: goes into the name where the files of several platforms lie together. */
  readonly platform?: string | undefined;
}

/** A statement as a file. */
export interface StatementFile {
  readonly name: string;
  readonly text: string;
}

/**
 * Statements whose subjects are all files of a tree, as BuildKit's local and tar outputs have them.
 * None that goes with images alone.
 */
export async function fileStatements(
  { attestations, prefix = '', platform }: FileAttestations,
  view: MergedView,
  signal: AbortSignal,
): Promise<StatementFile[]> {
  const wanted = attestations.filter(({ inlineOnly }) => !inlineOnly);
  if (wanted.length === 0) return [];
  const subjects = await subjectsIn(view, signal);
  return wanted.map((attestation) => ({
    name: `${prefix}${withPlatform(attestation.fileName, platform)}`,
    text: statementText(attestation, subjects),
  }));
}

async function subjectsIn(view: MergedView, signal: AbortSignal): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const { entry, source } of treeEntries(view)) {
    if (entry.type !== 'file') continue;
    const hash = createHash('sha256');
    await pipeline(createReadStream(fsPath(source)), hash, { signal });
    subjects.push({ name: toText(entry.path), digest: { sha256: hash.digest('hex') } });
  }
  return subjects;
}

function withPlatform(fileName: string, platform: string | undefined): string {
  return platform === undefined ? fileName : fileName.replace(/(\.[^.]*)?$/, `.${platform}$1`);
}

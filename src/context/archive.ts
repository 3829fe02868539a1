import { mkdirSync } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';
import { bornOwner } from '../linux/owners';
import { toRaw } from '../linux/paths';
import { EMPTY_VIEW } from '../snapshot/merged-view';
import { TreeWriter } from '../snapshot/tree-writer';
import { extractArchive } from './extract';

/**
 * Unpacks a context that came as a tar stream (plain or compressed) into an empty or new directory,
 * which is then used as any other context and is the caller's to delete. Everything in it belongs
 * to this process's user, for a context has no owners.
 * @throws MbuildError as `extractArchive`; an AbortError when `signal` is aborted.
 */
export async function unpackContext(
  stream: Readable,
  directory: string,
  signal?: AbortSignal,
): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (signal !== undefined) addAbortSignal(signal, stream);
  const dir = toRaw(directory);
  const writer = new TreeWriter(EMPTY_VIEW, dir);
  await extractArchive(stream, writer, writer.root, { owner: bornOwner() });
  writer.finish();
}

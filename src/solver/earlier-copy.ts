import { hashValue, type CacheKey, type KeyInput, type KeyValue } from '../cache/key';
import { loadManifest, type SelectionManifest } from '../cache/manifest';
import { differingEntries } from '../cache/manifest-entries';
import { isTrusted } from '../images/store/record-layer';
import { toRaw } from '../linux/paths';
import type { StepServices } from './services';
import type { EarlierCopy, PlannedStep } from './planned';

/**
 * The layer of a copy that differs from a planned one in the content of its only source, and that
 * was made in this store: then equal entries of both selections stand for equal files of both
 * layers. `undefined` where that is not known, and where times are set to SOURCE_DATE_EPOCH: who
 * asks for the same image wherever it is built gets files of their own, whose link count says
 * nothing of what was built before.
 */
export async function findEarlierCopy(
  earlierKey: CacheKey,
  planned: Pick<PlannedStep, 'input' | 'manifests'>,
  { root, cache, layers, snapshots, options }: StepServices,
): Promise<EarlierCopy | undefined> {
  if (options.sourceDateEpoch !== undefined) return undefined;
  const record = cache.get(earlierKey);
  const layer = record?.layer === undefined ? undefined : layers.get(record.layer.chainId);
  if (
    record === undefined ||
    layer === undefined ||
    layer.madeBy !== earlierKey ||
    !isTrusted(layer) ||
    !differInSource(record.input, planned.input)
  )
    return undefined;
  const [before, after] = [
    await loadManifest(root, onlySource(record.input)),
    await planned.manifests.get(onlySource(planned.input))?.(),
  ];
  if (before === undefined || after === undefined || !hasOnePlace(before) || !hasOnePlace(after))
    return undefined;
  const changed = new Set(
    differingEntries(before.entries, after.entries).after.map(({ path }) => path),
  );
  return { dir: toRaw(snapshots.layerDir(layer.id)), isUnchanged: (path) => !changed.has(path) };
}

/** Whether two copies do the same with one source each, on the same tree. */
function differInSource(earlier: KeyInput, now: KeyInput): boolean {
  if (now.inputs['unpack'] !== false || onlySource(earlier) === '' || onlySource(now) === '')
    return false;
  return exceptSources(earlier) === exceptSources(now);
}

function exceptSources({ kind, parent, inputs: { sources: _sources, ...rest } }: KeyInput): string {
  return hashValue([kind, parent, rest]);
}

/**
 * The digest of the selection that a copy is of; empty where it is of something else, or of more.
 */
function onlySource({ inputs: { sources } }: KeyInput): string {
  const [only, ...more] = isList(sources) ? sources : [];
  return typeof only === 'string' && more.length === 0 ? only : '';
}

function isList(value: KeyValue): value is readonly KeyValue[] {
  return Array.isArray(value);
}

/** False for a pattern with several matches: one may have overwritten what another brought. */
function hasOnePlace({ places }: SelectionManifest): boolean {
  return places.length === 1;
}

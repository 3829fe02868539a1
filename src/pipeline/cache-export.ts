import { cacheTargets, openPlace } from './cache-places';
import type { SolvedBuild } from './build-run';
import { KEY_VERSION } from '../cache/key';
import { selectionsOf, storedManifest } from '../cache/manifest';
import {
  CACHE_CONFIG_TYPE,
  SELECTION_TYPE,
  type CacheConfig,
  type CacheContents,
  type RemoteRecord,
} from '../cache/remote/format';
import type { CacheTarget, OutgoingCache } from '../cache/remote/place';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { StagePlan, Step } from '../graph/graph';
import { instructionText } from '../history/instruction-text';
import { limiter, together } from '../images/transfer/transfer';
import { digestOf, type DiffID } from '../oci/digest';
import type { ImageConfig, Manifest } from '../oci/image';
import { MediaType } from '../oci/media-types';
import { prepareLayer, type OutgoingBlob } from '../output/outgoing-image';
import { bytesFrom } from '../output/push';
import { withRow, type BuildScope, type VertexId } from '../progress/events';
import type { BlobSource } from '../registry/registry';

type WrittenTarget = Exclude<CacheTarget, { type: 'inline' }>;

/** Layers that are compressed at once. */
const PARALLEL_LAYERS = 2;

/**
 * Writes the caches of `--cache-to`. One that cannot be written is a warning unless that was ruled
 * out.
 * @throws MbuildError.
 */
export async function writeCaches(build: SolvedBuild): Promise<void> {
  const { options, newVertex, scope } = build;
  const targets = cacheTargets(options).filter(
    (target): target is WrittenTarget => target.type !== 'inline',
  );
  if (targets.length === 0) return;
  await build.journal.keepSelections();
  for (const target of targets) {
    const place = await openPlace(target, build.engine);
    await withRow(`exporting cache to ${place.title}`, newVertex(), scope, async (id) => {
      const note = (text: string): void => scope.events({ kind: 'note', id, text });
      try {
        await place.write(await outgoing(build, target, id), scope.signal, note);
      } catch (error) {
        if (!isMbuildError(error) || scope.signal.aborted) throw error;
        const message = `the cache could not be written to ${place.title}: ${error.message}`;
        if (!target.ignoreError)
          throw new MbuildError(error.code, message, { cause: error, hint: error.hint });
        note(`not written: ${error.message}`);
        scope.events({
          kind: 'warning',
          diagnostic: { severity: 'warning', code: 'CacheExport', message, hint: error.hint },
        });
      }
    });
  }
}

/** An image's config with the records of its own steps in it. */
export async function withInlineCache(
  config: ImageConfig,
  stage: StagePlan,
  build: SolvedBuild,
): Promise<ImageConfig> {
  const { options } = build;
  if (!cacheTargets(options).some(({ type }) => type === 'inline')) return config;
  const contents = await contentsOf(stagesUpTo(stage), build);
  const own = new Set(config.rootfs.diff_ids);
  const records = contents.records
    .filter(({ layer }) => layer === undefined || own.has(layer.diffId))
    .map((record) => withoutChance(record, options.sourceDateEpoch));
  return { ...config, 'mbuild.cache.v1': { ...contents, records } };
}

/**
 * How long steps ran, and when, would make each build of the same another image, where the same was
 * asked for.
 */
function withoutChance(record: RemoteRecord, epoch: number | undefined): RemoteRecord {
  if (epoch === undefined) return record;
  return { ...record, durationMs: 0, created: new Date(epoch * 1000).toISOString() };
}

/** The stage and those that it is built on, the lowest first. */
function stagesUpTo(stage: StagePlan): readonly StagePlan[] {
  const { base } = stage;
  return [...(base.kind === 'stage' ? stagesUpTo(base.stage) : []), stage];
}

/**
 * What stages are made of: each step's record, out of the store or out of the cache that it came
 * from.
 */
async function contentsOf(
  stages: readonly StagePlan[],
  { solution, engine, caches: remote, journal }: SolvedBuild,
): Promise<CacheContents> {
  const records = new Map<string, RemoteRecord>();
  const digests = new Map<string, string>();
  for (const stage of stages) {
    for (const [index, step] of stage.steps.entries()) {
      const outcome = solution.outcomes.get(step.id);
      if (outcome === undefined) continue;
      const known = engine.cache.get(outcome.key) ?? (await remote?.find(outcome.key))?.[0]?.record;
      if (known === undefined) continue;
      const { key, input, result, layer, created, durationMs } = known;
      records.set(key, {
        key,
        input,
        result,
        ...(layer === undefined ? {} : { layer }),
        created,
        durationMs,
        ...placeOf(step, stage, index),
      });
      for (const [name, digest] of outcome.digests) digests.set(name, digest);
    }
  }
  const names = new Set(stages.map(({ name }) => name));
  return {
    version: 1,
    keys: KEY_VERSION,
    records: [...records.values()],
    digests: Object.fromEntries(digests),
    bases: journal
      .bases()
      .filter(({ stage }) => names.has(stage))
      .map(({ stage, name, digest }) => ({ stage, name, digest })),
  };
}

function placeOf(
  step: Step,
  stage: StagePlan,
  index: number,
): Pick<RemoteRecord, 'stage' | 'index' | 'line' | 'text'> {
  return { stage: stage.name, index, line: step.range.start.line, text: instructionText(step) };
}

async function outgoing(
  build: SolvedBuild,
  target: WrittenTarget,
  vertex: VertexId,
): Promise<OutgoingCache> {
  const { graph } = build;
  const contents = await contentsOf(
    target.mode === 'max' ? graph.stages : [...new Set(graph.targets.flatMap(stagesUpTo))],
    build,
  );
  const layers = await layersOf(contents.records, build, target, vertex);
  const records = contents.records.filter(
    ({ layer }) => layer === undefined || layers.has(layer.diffId),
  );
  const selections = selectionBlobs(records, build);
  const config: CacheConfig = {
    ...contents,
    records,
    layers: [...layers.keys()],
    selections: [...selections.keys()],
  };
  const configBlob = inMemory(Buffer.from(JSON.stringify(config)), CACHE_CONFIG_TYPE);
  const blobs = [...layers.values(), ...selections.values()];
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: configBlob.descriptor,
    layers: blobs.map(({ descriptor }) => descriptor),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return {
    blobs: [...blobs, configBlob],
    manifest: {
      descriptor: { mediaType: MediaType.ociManifest, digest: digestOf(bytes), size: bytes.length },
      bytes,
    },
  };
}

/**
 * The layers of records, compressed where they are in the store, else as the cache has them that
 * they came from.
 */
async function layersOf(
  records: readonly RemoteRecord[],
  { engine, caches: remote, scope }: SolvedBuild,
  { compression }: WrittenTarget,
  vertex: VertexId,
): Promise<ReadonlyMap<DiffID, BlobSource>> {
  const inTurn = limiter(PARALLEL_LAYERS);
  const wanted = [
    ...new Map(
      records.flatMap(({ layer }) => (layer === undefined ? [] : [[layer.diffId, layer] as const])),
    ).values(),
  ];
  const made = await together(
    scope,
    wanted.map(
      ({ diffId, chainId }) =>
        (inner: BuildScope) =>
          inTurn(async () => {
            const record = engine.layers.get(chainId);
            const blob =
              record === undefined
                ? remote?.outgoing({ diffId })
                : asSource(
                    await prepareLayer(
                      { record, format: 'oci' },
                      { otherwise: 'gzip', compression },
                      { services: engine, vertex, scope: inner },
                    ),
                  );
            return blob === undefined ? [] : [[diffId, blob] as const];
          }),
    ),
  );
  return new Map(made.flat());
}

/** What the selections of records hold, as far as it is known. */
function selectionBlobs(
  records: readonly RemoteRecord[],
  { engine, caches: remote }: SolvedBuild,
): ReadonlyMap<string, BlobSource> {
  const found = new Map<string, BlobSource>();
  for (const digest of records.flatMap(({ input }) => selectionsOf(input))) {
    const bytes = storedManifest(engine.root, digest);
    const blob =
      bytes === undefined
        ? remote?.outgoing({ selection: digest })
        : inMemory(bytes, SELECTION_TYPE);
    if (blob !== undefined) found.set(digest, blob);
  }
  return found;
}

function asSource(blob: OutgoingBlob): BlobSource {
  return { descriptor: blob.descriptor, open: (start) => bytesFrom(blob.open(), start) };
}

function inMemory(bytes: Buffer, mediaType: string): BlobSource {
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    open: async function* open(start) {
      yield bytes.subarray(start);
    },
  };
}

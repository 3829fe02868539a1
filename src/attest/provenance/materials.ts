import type { FetchedSources } from '../../context/fetched';
import type { BaseImage, Operation, StagePlan, Step, TreeSource } from '../../graph/graph';
import { hexOf, isDigest } from '../../oci/digest';
import { formatPlatform } from '../../oci/platform';
import { imagePurl } from '../../output/attestation';
import type { Material } from './facts';

/** What an image is made of: its stage, and all that this needs. */
export interface Reached {
  readonly stages: readonly StagePlan[];
  readonly steps: readonly Step[];
  readonly images: readonly { readonly image: BaseImage; readonly platform: string }[];
  /** Names of contexts whose files are taken; `undefined` for the build context. */
  readonly contexts: ReadonlySet<string | undefined>;
}

/** Follows a stage to everything below it, each once, in order of the Dockerfile. */
export function reachedFrom(target: StagePlan): Reached {
  const stages = new Set<StagePlan>();
  const images = new Map<string, Reached['images'][number]>();
  const contexts = new Set<string | undefined>();
  const visitImage = (image: BaseImage, stage: StagePlan): void => {
    const platform = formatPlatform(stage.platform);
    images.set(`${image.descriptor.digest} ${platform}`, { image, platform });
  };
  const visitSource = (source: TreeSource, stage: StagePlan): void => {
    if (source.kind === 'stage') visit(source.stage);
    else if (source.kind === 'image') visitImage(source.image, stage);
    else contexts.add(source.name);
  };
  const visit = (stage: StagePlan): void => {
    if (stages.has(stage)) return;
    stages.add(stage);
    if (stage.base.kind === 'stage') visit(stage.base.stage);
    if (stage.base.kind === 'image') visitImage(stage.base.image, stage);
    for (const { operation } of stage.steps)
      for (const source of sourcesOf(operation)) visitSource(source, stage);
  };
  visit(target);
  const inOrder = [...stages].sort((a, b) => a.index - b.index);
  return {
    stages: inOrder,
    steps: inOrder.flatMap(({ steps }) => steps),
    images: [...images.values()],
    contexts,
  };
}

function sourcesOf(operation: Operation): readonly TreeSource[] {
  if (operation.kind === 'copy')
    return operation.sources.some(({ kind }) => kind === 'path') ? [operation.from] : [];
  if (operation.kind !== 'run') return [];
  return operation.mounts.flatMap((mount) =>
    (mount.kind === 'bind' || mount.kind === 'cache') && mount.from !== undefined
      ? [mount.from]
      : [],
  );
}

/**
 * Images, files and repositories with their digests. @param addresses of contexts that were
 * fetched.
 */
export function materialsOf(
  { images, steps }: Reached,
  addresses: readonly string[],
  fetched: FetchedSources,
): Material[] {
  const urls = steps.flatMap(({ operation }) =>
    operation.kind === 'copy'
      ? operation.sources.flatMap((source) => ('url' in source ? [source.url] : []))
      : [],
  );
  const found = [
    ...images.map(({ image, platform }) => imageMaterial(image, platform)),
    ...[...addresses, ...urls].flatMap((url) => fetchedMaterial(url, fetched) ?? []),
  ];
  return [...new Map(found.map((one) => [JSON.stringify(one), one])).values()];
}

function imageMaterial({ name, descriptor }: BaseImage, platform: string): Material {
  return { uri: imagePurl(name, platform), digest: { sha256: hexOf(descriptor.digest) } };
}

/** What was fetched from an address; `undefined` where nothing was. */
export function fetchedMaterial(url: string, fetched: FetchedSources): Material | undefined {
  const commit = fetched.repositories.get(url);
  if (commit !== undefined) {
    const ref = commit.ref === undefined ? '' : `#${commit.ref}`;
    const algorithm = commit.commit.length === 40 ? 'sha1' : 'sha256';
    return { uri: `${commit.remote}${ref}`, digest: { [algorithm]: commit.commit } };
  }
  const digest = fetched.files.get(url);
  if (digest === undefined || !isDigest(digest)) return undefined;
  return { uri: url.replace(/\/\/[^/@]*@/, '//'), digest: { sha256: hexOf(digest) } };
}

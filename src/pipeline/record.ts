import { formatPlatform } from '../oci/platform';
import { MbuildError } from '../diagnostics/error';
import {
  assembleImage,
  describeImage,
  imageLayers,
  type Elsewhere,
  type ImageDraft,
} from '../images/store/assemble';
import type { Lease } from '../images/store/lease';
import { withRow, type BuildScope, type VertexId } from '../progress/events';
import type { SolvedBuild } from './cache-export';
import { cacheTargets } from './caches';
import { imageConfig } from './image';
import type { BuildOptions } from './options';
import { isOnlyPushed, wantsStore, type MadeImage } from './outputs';
import type { WantedImage } from './wanted';

/** The images of the targets, recorded in the store; they have their names there if the store is where they were asked for. */
export async function recordImages(
  build: SolvedBuild,
  options: BuildOptions,
  wanted: readonly WantedImage[],
  lease: Lease,
  newVertex: () => VertexId,
  scope: BuildScope,
): Promise<MadeImage[]> {
  return withRow('exporting to image', newVertex(), scope, async (id) => {
    const note = (text: string): void => scope.events({ kind: 'note', id, text });
    const made: MadeImage[] = [];
    for (const [i, { target, platform, names, group }] of wanted.entries()) {
      const stage = build.graph.targets[i];
      if (stage === undefined) throw new MbuildError('INTERNAL', 'a target was not planned');
      const plain = await imageConfig(stage, build.solution, options.sourceDateEpoch);
      const config =
        cacheTargets(options).length === 0
          ? plain
          : await (await import('./cache-export')).withInlineCache(plain, stage, build, options);
      const recorded = recordImage(
        {
          config,
          names: wantsStore(options) ? names : [],
          annotations: options.annotations,
          format: options.format,
        },
        build,
        options,
        lease,
      );
      note(`writing image ${recorded.image.id} done`);
      if (recorded.elsewhere !== undefined)
        note(
          'its layers stay in the cache that has them: the image is pushed, and is not in the store',
        );
      else if (wantsStore(options)) for (const name of names) note(`naming to ${name} done`);
      made.push({ ...recorded, names, target, platform: formatPlatform(platform), group });
    }
    return made;
  });
}

/** An image that is only pushed is in the store if all of its layers are. */
function recordImage(
  draft: ImageDraft,
  { engine, remote }: SolvedBuild,
  options: BuildOptions,
  lease: Lease,
): Pick<MadeImage, 'image' | 'elsewhere'> {
  const elsewhere: Elsewhere | undefined =
    remote === undefined || !isOnlyPushed(options)
      ? undefined
      : (diffId) => remote.outgoing({ diffId });
  if (
    elsewhere === undefined ||
    imageLayers(draft.config, engine, elsewhere).every((layer) => 'chainId' in layer)
  )
    return { image: assembleImage(draft, engine, lease) };
  return { image: describeImage(draft, elsewhere, engine, lease), elsewhere };
}

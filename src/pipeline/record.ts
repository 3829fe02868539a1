import { annotationsAt } from '../oci/annotations';
import { formatPlatform } from '../oci/platform';
import { MbuildError } from '../diagnostics/error';
import {
  assembleImage,
  describeImage,
  imageLayers,
  type Elsewhere,
  type ImageDraft,
} from '../images/store/assemble';
import { withRow } from '../progress/events';
import type { SolvedBuild } from './build-run';
import { cacheTargets } from './cache-places';
import { imageConfig } from './image';
import { takesOnlyBlobs, wantsNames, type MadeImage } from './outputs';

/**
 * The images of the targets, recorded in the store; they have their names there if the store is
 * where they were asked for.
 */
export async function recordImages(build: SolvedBuild): Promise<MadeImage[]> {
  const { options, wanted, newVertex, scope } = build;
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
          : await (await import('./cache-export')).withInlineCache(plain, stage, build);
      const recorded = recordImage(
        {
          config,
          names: wantsNames(options) ? names : [],
          annotations: annotationsAt('manifest', options.annotations, formatPlatform(platform)),
          format: options.format,
        },
        build,
      );
      note(`writing image ${recorded.image.id} done`);
      if (recorded.elsewhere !== undefined)
        note('its layers stay where they are: the image is not in the store');
      else if (wantsNames(options)) for (const name of names) note(`naming to ${name} done`);
      made.push({ ...recorded, names, target, platform: formatPlatform(platform), group });
    }
    return made;
  });
}

/** An image that only leaves is in the store if all of its layers are. */
function recordImage(
  draft: ImageDraft,
  { engine, caches: remote, options, lease }: SolvedBuild,
): Pick<MadeImage, 'image' | 'elsewhere'> {
  const elsewhere: Elsewhere | undefined =
    remote === undefined || !takesOnlyBlobs(options)
      ? undefined
      : (diffId) => remote.outgoingLayer(diffId);
  if (
    elsewhere === undefined ||
    imageLayers(draft.config, engine, elsewhere).every((layer) => 'chainId' in layer)
  )
    return { image: assembleImage(draft, engine, lease) };
  return { image: describeImage(draft, elsewhere, engine, lease), elsewhere };
}

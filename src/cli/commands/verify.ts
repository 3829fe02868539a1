import { existsSync } from 'node:fs';
import { tempName } from '../../content/files';
import { MbuildError } from '../../diagnostics/error';
import { openEngine, type Engine } from '../../engine';
import type { Image } from '../../images/image-store';
import { loadImages } from '../../images/load';
import { removeTree } from '../../linux/remove-tree';
import type { ProgressMode } from '../../progress/choose';
import { withRow } from '../../progress/events';
import { compareImages, type PlacedImage } from '../../verify/compare-images';
import { verifyTwice } from '../../verify/twice';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions } from '../build-options';
import { defineCommand } from '../command';
import { showImageDifference, showTwice } from '../format/verify';
import type { Host } from '../host';
import { withProgress } from '../progress';
import { engineOptions, findImage, lookUp, withServices, type StoreFlags } from '../services';
import { readInputs } from './build';

const FLAGS = {
  ...BUILD_FLAGS,
  format: { kind: 'string', value: 'FORMAT', choices: ['text', 'json'], fallback: 'text', help: "'text' or 'json'" },
  'ignore-times': { kind: 'boolean', help: 'Of two images: times of files, image and history do not count' },
  twice: { kind: 'boolean', help: 'Build the context twice and compare' },
} as const;

export const command = defineCommand({
  name: 'verify',
  summary: 'Tell whether a build makes the same twice, or why two images differ',
  usage: ['--twice [BUILD OPTIONS] PATH | URL', '[--ignore-times] IMAGE|ARCHIVE IMAGE|ARCHIVE'],
  positionals: { min: 1, max: 2 },
  flags: FLAGS,
  notes: [
    'With --twice takes the flags of mbuild build; both builds begin with nothing in the cache, and nothing of them is kept, named or sent.',
    'They run at different times, in different stores and, without --hostname, with different host names. Times count where SOURCE_DATE_EPOCH sets them.',
    'Exit code 1 where something differs that counts.',
  ],
  run: async ({ flags, positionals: [first = '.', second] }, host) => {
    if (flags.twice === (second !== undefined)) throw new MbuildError('USAGE', flags.twice ? 'mbuild verify --twice takes one context' : 'mbuild verify takes two images', { hint: 'mbuild verify --twice PATH builds twice; mbuild verify IMAGE IMAGE compares' });
    if (flags.twice) {
      const options = buildOptions({ ...flags, format: undefined }, await readInputs(first, flags.file, host), host.env);
      const mode = flags.quiet ? 'quiet' : (flags.progress as ProgressMode);
      const report = await withServices(host, flags, (services) => verifyTwice(options, services, engineOptions(host, flags), (work) => withProgress(host, mode, work)));
      host.out.write(flags.format === 'json' ? `${JSON.stringify(report, undefined, 2)}\n` : showTwice(report));
      return report.same ? 0 : 1;
    }
    const difference = await withServices(host, flags, (services) =>
      withImage(first, services, host, flags, (one) => withImage(second ?? '', services, host, flags, (other) => compareImages(one, other, { ignoreTimes: flags['ignore-times'] }))));
    host.out.write(flags.format === 'json' ? `${JSON.stringify(difference, undefined, 2)}\n` : showImageDifference(difference));
    return difference.same ? 0 : 1;
  },
});

/** An image of the store by its name or id; of an archive or layout by its path, unpacked into a store that goes when `use` is done. */
async function withImage<T>(text: string, services: Engine, host: Host, flags: StoreFlags, use: (image: PlacedImage) => Promise<T>): Promise<T> {
  const known = lookUp(services, text);
  if (known !== undefined || !existsSync(text)) return use({ image: known ?? findImage(services, text), services });
  const root = tempName(services.root, 'verify');
  const store = openEngine({ ...engineOptions(host, flags), root });
  try {
    return await use({ image: await onlyImage(text, store, host), services: store });
  } finally {
    await store.close();
    removeTree(root);
  }
}

/** @throws MbuildError USAGE for an archive with several. */
async function onlyImage(file: string, store: Engine, host: Host): Promise<Image> {
  const loaded = await withProgress(host, 'quiet', (scope) => withRow(`loading ${file}`, 1, scope, (id) => loadImages({ path: file }, store, id, scope)));
  const images = new Map(loaded.map(({ image }) => [image.id, image]));
  const [only] = images.values();
  if (only !== undefined && images.size === 1) return only;
  throw new MbuildError('USAGE', `${file} holds ${images.size} images`, { hint: `load it with: mbuild load -i ${file}; then compare by name` });
}

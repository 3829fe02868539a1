import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Image } from '../../src/images/store/image-store';
import type { Digest } from '../../src/oci/digest';
import type { Exporter } from '../../src/output/exporter';
import { addImage, addLayer, openStore, scopeOf, type TestStore } from '../images/store';

/** A place that an exporter writes to. */
export interface ExportPlace {
  readonly exporter: Exporter;
  /** The id of the image that is found there under a name; `undefined` when there is none. */
  readonly imageAt: (name: string) => Promise<Digest | undefined>;
  readonly dispose: () => void | Promise<void>;
}

const NAME = 'registry.test/app:1';
const OTHER = 'registry.test/app:2';

/**
 * What every exporter of images promises. `make` gives one whose place is empty. Needs root: the
 * store's trees are overlays'.
 */
export function exporterContract(name: string, make: (store: TestStore) => ExportPlace): void {
  describe(`${name} keeps the contract of exporters`, () => {
    let store: TestStore;
    let place: ExportPlace;
    beforeEach(() => {
      store = openStore();
      place = make(store);
    });
    afterEach(async () => {
      await place.dispose();
      store.dispose();
    });

    const imageOf = (text: string): Image => {
      const layer = addLayer(store, [], (dir) => writeFileSync(path.join(dir, 'file'), text));
      return addImage(store, [layer], [NAME], { Labels: { text } });
    };
    const send = (image: Image, names = [NAME], signal?: AbortSignal) =>
      place.exporter.export([{ image, names }], 1, scopeOf(signal));

    test('what it sends is found there: config and layers', async () => {
      const image = imageOf('one');
      const { descriptors } = await send(image);
      expect(descriptors).toHaveLength(1);
      expect(await place.imageAt(NAME)).toBe(image.id);
    });

    test('an image under a name replaces the one that was there', async () => {
      await send(imageOf('one'));
      const two = imageOf('two');
      await send(two);
      expect(await place.imageAt(NAME)).toBe(two.id);
    });

    test('the same image leaves the same bytes, however often', async () => {
      const image = imageOf('one');
      const [first] = (await send(image)).descriptors;
      const [again] = (await send(image)).descriptors;
      expect(again).toEqual(first);
    });

    test('the manifests are told in the order of the images', async () => {
      const [one, two] = [imageOf('one'), imageOf('two')];
      const { descriptors } = await place.exporter.export(
        [
          { image: one, names: [NAME] },
          { image: two, names: [OTHER] },
        ],
        1,
        scopeOf(),
      );
      const [[first], [second]] = [
        (await send(one)).descriptors,
        (await send(two, [OTHER])).descriptors,
      ];
      expect(descriptors.map(({ digest }) => digest)).toEqual([first?.digest, second?.digest]);
    });

    test('what is called off leaves what was there', async () => {
      const image = imageOf('one');
      await send(image);
      const off = AbortSignal.abort(new Error('called off'));
      await expect(send(imageOf('two'), [NAME], off)).rejects.toThrow();
      expect(await place.imageAt(NAME)).toBe(image.id);
    });
  });
}

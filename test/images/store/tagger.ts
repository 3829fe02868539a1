// Gives an image many names, as a process of its own: tagger ROOT ID PREFIX COUNT.
import { LocalContentStore } from '../../../src/content/local-store';
import { FileImageStore } from '../../../src/images/store/file-image-store';
import { FileLayerIndex } from '../../../src/images/store/file-layer-index';
import type { Digest } from '../../../src/oci/digest';

const [root = '', id = '', prefix = '', count = '0'] = process.argv.slice(2);
const content = new LocalContentStore(root);
const images = new FileImageStore(root, content, new FileLayerIndex(root));
for (let i = 0; i < Number(count); i++)
  images.tag(id as Digest, `docker.io/library/${prefix}:${i}`);

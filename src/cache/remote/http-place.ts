import { hexOf } from '../../oci/digest';
import { redactUrl } from '../../registry/transport';
import type { WebFolder } from '../../registry/web-folder';
import { FolderPlace } from './folder-place';

/**
 * A folder of a web server: `<tag>.json` is the manifest of a cache, `sha256-<hex>` are blobs, all
 * in one folder, because a server may not make others.
 */
export class HttpPlace extends FolderPlace {
  constructor(url: URL, tag: string, folder: WebFolder) {
    super(
      {
        title: redactUrl(url),
        manifests: [`${tag}.json`],
        blob: (digest) => `sha256-${hexOf(digest)}`,
      },
      folder,
    );
  }
}

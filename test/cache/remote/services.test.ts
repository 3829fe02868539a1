import { azurePlace } from '../../../src/cache/remote/azblob-place';
import { ActionsPlace } from '../../../src/cache/remote/gha-place';
import { s3Place } from '../../../src/cache/remote/s3-place';
import type { AzureSource, S3Source } from '../../../src/cache/remote/sources';
import { FileClient } from '../../../src/registry/download-file';
import { cachePlaceContract } from '../../contract/cache-place';
import {
  AZURE_KEY,
  S3_KEYS,
  noCloudServers,
  startAzurite,
  startCacheService,
  startS3,
  type CloudServer,
} from '../../support/cloud-servers';
import { describeWith } from '../../support/needs';

const NAMES = { manifestsPrefix: 'manifests/', blobsPrefix: 'blobs/' };
const DAY = 86_400_000;
let serial = 0;

describeWith('caches that services keep', { also: noCloudServers }, () => {
  let azurite: CloudServer;
  let s3: CloudServer;
  beforeAll(async () => {
    [azurite, s3] = await Promise.all([startAzurite(), startS3()]);
  });
  afterAll(() => Promise.all([azurite?.stop(), s3?.stop()]));

  const bucket = (names: string, changed: Partial<S3Source> = {}): S3Source => ({
    ...{ type: 's3', bucket: 'caches', region: 'us-east-1', endpoint: s3.url, pathStyle: true },
    ...{ credentials: S3_KEYS, touchAfterMs: DAY, names: [names], prefix: `${serial}/`, ...NAMES },
    ...changed,
  });
  const account = (changed: Partial<AzureSource> = {}): AzureSource => ({
    ...{ type: 'azblob', accountUrl: azurite.url, container: `caches${serial}`, key: AZURE_KEY },
    ...{ names: ['main'], prefix: 'of/', ...NAMES },
    ...changed,
  });

  cachePlaceContract('a bucket of S3', () => {
    serial++;
    return { place: (tag) => s3Place(bucket(tag)), dispose: () => undefined };
  });

  cachePlaceContract('a container of Azure', () => {
    serial++;
    return { place: (tag) => azurePlace(account({ names: [tag] })), dispose: () => undefined };
  });

  cachePlaceContract('the cache service of GitHub Actions', async () => {
    const service = await startCacheService(azurite);
    const client = new FileClient();
    return {
      place: (scope) =>
        new ActionsPlace(
          {
            ...{ type: 'gha', url: service.url, token: service.token, scope },
            ...{ timeoutMs: 60_000, maxSize: 1e9 },
          },
          (request, signal) => client.call(request, signal),
        ),
      dispose: async () => {
        await client.close();
        await service.stop();
      },
    };
  });
});

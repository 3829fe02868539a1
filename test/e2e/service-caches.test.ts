import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import {
  AZURE_KEY,
  S3_KEYS,
  noCloudServers,
  startAzurite,
  startCacheService,
  startS3,
  type CacheService,
  type CloudServer,
} from '../support/cloud-servers';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = `FROM small-base
COPY app.txt /
RUN head -c 20000000 /dev/urandom > /random
`;

describeWith('builds with caches of services', { root: true, also: noCloudServers }, () => {
  const temp = useTemp();
  let azurite: CloudServer;
  let s3: CloudServer;
  let actions: CacheService;
  let base: string;
  let context: string;

  beforeAll(async () => {
    [azurite, s3] = await Promise.all([startAzurite(), startS3()]);
    actions = await startCacheService(azurite);
    base = join(temp.dir(), 'base.tar');
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok(['save', '-o', base, 'small-base']);
  });
  afterAll(() => Promise.all([actions?.stop(), azurite?.stop(), s3?.stop()]));
  beforeEach(() => {
    actions.answer = () => undefined;
    context = writeFiles(temp.dir('context'), { Dockerfile: DOCKERFILE, 'app.txt': 'app\n' });
  });

  async function machine(): Promise<Mbuild> {
    const mbuild = new Mbuild(temp.dir('store'));
    await mbuild.ok(['load', '-q', '-i', base]);
    return mbuild;
  }

  /** Options of a cache, and the environment that they need. */
  const KINDS: Readonly<Record<string, () => readonly [string, Readonly<Record<string, string>>]>> =
    {
      s3: () => [
        `type=s3,bucket=caches,region=us-east-1,endpoint_url=${s3.url},use_path_style=true,prefix=app/`,
        { AWS_ACCESS_KEY_ID: S3_KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: S3_KEYS.secretAccessKey },
      ],
      azblob: () => [
        `type=azblob,account_url=${azurite.url},container=app,secret_access_key=${AZURE_KEY}`,
        {},
      ],
      gha: () => [
        'type=gha,scope=app',
        { ACTIONS_RESULTS_URL: actions.url, ACTIONS_RUNTIME_TOKEN: actions.token },
      ],
    };

  it.each(['s3', 'azblob', 'gha'])(
    'type=%s gives another machine what one has built',
    async (kind) => {
      const [cache, env] = KINDS[kind]?.() ?? ['', {}];
      const made = await (
        await machine()
      ).build(['--cache-to', `${cache},mode=max,ignore-error=false`, context], { env });
      const again = await (await machine()).build(['--cache-from', cache, context], { env });
      expect(again.id).toBe(made.id);
      expect(instructionSteps(again.steps).map(({ cached }) => cached)).toEqual([true, true]);
    },
  );

  it('type=gha writes a new entry for what is new, and none for what is there', async () => {
    const [, env] = KINDS['gha']?.() ?? ['', {}];
    const cache = 'type=gha,scope=entries';
    const first = await machine();
    const before = actions.keys().length;
    await first.build(['--cache-to', cache, context], { env });
    await first.build(['--cache-to', cache, context], { env });
    expect(actions.keys()).toHaveLength(before + 1);
    writeFiles(context, { 'app.txt': 'other\n' });
    const { id } = await first.build(['--cache-to', cache, context], { env });
    expect(actions.keys()).toHaveLength(before + 2);
    expect((await (await machine()).build(['--cache-from', cache, context], { env })).id).toBe(id);
  });

  describe('what goes wrong there is one warning, and the build goes on', () => {
    let broken: Server;
    let address: string;
    let status: number | 'never';
    let code = '';
    beforeAll(async () => {
      broken = createServer((_request, response) => {
        if (status === 'never') return;
        const body = `<Error><Code>${code}</Code><Message>no</Message></Error>`;
        response.writeHead(status, { 'content-type': 'application/xml' }).end(body);
      });
      await new Promise<void>((resolve) => broken.listen(0, '127.0.0.1', resolve));
      address = `http://127.0.0.1:${(broken.address() as AddressInfo).port}`;
    });
    afterAll(() => {
      broken.closeAllConnections();
      broken.close();
    });

    /** The line of the warning. */
    async function warned(cache: string, env: Readonly<Record<string, string>>): Promise<string> {
      const plain = writeFiles(temp.dir('plain'), {
        Dockerfile: 'FROM small-base\nCOPY f /\n',
        f: '',
      });
      const { stderr } = await (
        await machine()
      ).build(['--cache-from', cache, '--cache-to', cache, plain], { env });
      const lines = stderr.split('\n').filter((line) => / - Cache(Import|Export): /.test(line));
      expect(lines).toHaveLength(2);
      return lines.join('\n');
    }

    it.each([
      [
        'an access key that is not known',
        {},
        { AWS_ACCESS_KEY_ID: 'OTHER', AWS_SECRET_ACCESS_KEY: 'x' },
        /access key/,
      ],
      ['no credentials', {}, { AWS_EC2_METADATA_DISABLED: 'true' }, /there are no credentials/],
      [
        'a bucket that is not there',
        { bucket: 'other' },
        { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' },
        /no bucket "other"/,
      ],
    ])('S3: %s', async (_what, { bucket = 'caches' }: { bucket?: string }, env, text) => {
      const cache = `type=s3,bucket=${bucket},region=us-east-1,endpoint_url=${s3.url},use_path_style=true`;
      expect(await warned(cache, env)).toMatch(text);
    });

    it('S3: a service that answers 500, and one that is elsewhere', async () => {
      const cache = `type=s3,bucket=b,region=us-east-1,endpoint_url=${address},use_path_style=true,access_key_id=a,secret_access_key=b`;
      status = 500;
      expect(await warned(cache, {})).toContain('it answers 500');
      status = 301;
      expect(await warned(cache, {})).toContain('is not in the region us-east-1');
    });

    it.each([
      ['ExpiredToken', 400, /have expired/],
      ['SignatureDoesNotMatch', 403, /secret key is not that of the access key/],
      ['RequestTimeTooSkewed', 403, /clock differs too much/],
      ['QuotaExceeded', 403, /quota is used up/],
      ['AccessDenied', 403, /may not do this/],
    ])('S3: a service that answers %s', async (name, answer, text) => {
      [code, status] = [name, answer];
      const cache = `type=s3,bucket=b,region=us-east-1,endpoint_url=${address},use_path_style=true,access_key_id=a,secret_access_key=b`;
      expect(await warned(cache, {})).toMatch(text);
      code = '';
    });

    it('Azure: a wrong key', async () => {
      const key = Buffer.from('other').toString('base64');
      const cache = `type=azblob,account_url=${azurite.url},secret_access_key=${key}`;
      expect(await warned(cache, {})).toMatch(/does not take the credentials|may not do this/);
    });

    it.each([
      ['is not a job of Actions', {}, {}, /ACTIONS_RESULTS_URL is not set/],
      ['has another token', { ACTIONS_RUNTIME_TOKEN: 'old' }, {}, /does not take the token/],
      ['answers 500', {}, { all: 500 as const }, /it answers 500/],
      ['refuses keys', {}, { CreateCacheEntry: 409 as const }, /refuses the key/],
      ['hangs', {}, { all: 'never' as const }, /took longer than 1 seconds/],
    ])('GitHub Actions: who asks %s', async (what, changed, answers, text) => {
      const forced: Readonly<Record<string, number | 'never' | undefined>> = answers;
      actions.answer = (method) => forced['all'] ?? forced[method];
      const env = {
        ACTIONS_RESULTS_URL: actions.url,
        ACTIONS_RUNTIME_TOKEN: actions.token,
        ...changed,
      };
      const plain = writeFiles(temp.dir('plain'), {
        Dockerfile: 'FROM small-base\nCOPY f /\n',
        f: '',
      });
      const { stderr } = await (
        await machine()
      ).build(['--cache-to', `type=gha,scope=bad,timeout=${what === 'hangs' ? 1 : 30}s`, plain], {
        env: what.startsWith('is not') ? {} : env,
      });
      expect(stderr.split('\n').find((line) => line.includes('CacheExport'))).toMatch(text);
    });
  });
});

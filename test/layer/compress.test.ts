import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';
import { compressTar } from '../../src/layer/compress';
import { decompressStream, detectCompression } from '../../src/layer/decompress';
import { Threads } from '../../src/linux/threads';

const has = (program: string): boolean =>
  spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks = [];
  for await (const chunk of source) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

const input = Buffer.concat([
  randomBytes(700_000),
  Buffer.alloc(1_500_000, 'text '),
  randomBytes(400_000),
]);
async function* inChunks(size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < input.length; at += size) yield input.subarray(at, at + size);
}

const threads = new Threads(undefined, 1);
const moreThreads = new Threads(undefined, 3);
afterAll(() => Promise.all([threads.close(), moreThreads.close()]));

describe('gzip', () => {
  it.each([undefined, 1])(
    'of level %s gives the same bytes however the input comes and however many work on it',
    async (level) => {
      const first = await collect(compressTar(inChunks(1000), { type: 'gzip', level }, threads));
      expect(gunzipSync(first).equals(input)).toBe(true);
      expect(
        (
          await collect(compressTar(inChunks(777_777), { type: 'gzip', level }, moreThreads))
        ).equals(first),
      ).toBe(true);
    },
  );

  it('may be given chunks that change when the next is asked for', async () => {
    async function* inOneBuffer(): AsyncGenerator<Buffer> {
      const buffer = Buffer.alloc(300_000);
      for await (const chunk of inChunks(buffer.length))
        yield buffer.subarray(0, chunk.copy(buffer));
    }
    for (const type of has('zstd') ? (['gzip', 'zstd'] as const) : (['gzip'] as const)) {
      const packed = await collect(compressTar(inOneBuffer(), { type }, moreThreads));
      expect((await collect(decompressStream(Readable.from([packed]), type))).equals(input)).toBe(
        true,
      );
    }
  });

  it('tells of a failure in a worker', async () => {
    const broken = {
      size: 2,
      remote: () => ({ gzipMember: () => Promise.reject(new Error('no memory')) }),
    } as unknown as Threads;
    await expect(collect(compressTar(inChunks(1000), { type: 'gzip' }, broken))).rejects.toThrow(
      'no memory',
    );
  });

  it.each([undefined, 1])('of level %s is read by the program as one file', async (level) => {
    const packed = await collect(compressTar(inChunks(65_536), { type: 'gzip', level }, threads));
    expect(execFileSync('gzip', ['-dc'], { input: packed, maxBuffer: 1e8 }).equals(input)).toBe(
      true,
    );
  });

  it('of nothing is a member of nothing', async () => {
    expect(
      gunzipSync(await collect(compressTar(Readable.from([]), { type: 'gzip' }, threads))),
    ).toHaveLength(0);
  });

  it('passes an error of the source on', async () => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield input;
      throw new Error('source failed');
    }
    await expect(collect(compressTar(failing(), { type: 'gzip' }, threads))).rejects.toThrow(
      'source failed',
    );
    if (has('zstd'))
      await expect(collect(compressTar(failing(), { type: 'zstd' }, threads))).rejects.toThrow(
        'source failed',
      );
  });
});

(has('zstd') ? it : it.skip)(
  `zstd gives the same bytes each time${has('zstd') ? '' : ' (skipped: needs zstd)'}`,
  async () => {
    const first = await collect(compressTar(inChunks(1000), { type: 'zstd' }, threads));
    expect(
      (await collect(compressTar(inChunks(100_000), { type: 'zstd' }, threads))).equals(first),
    ).toBe(true);
    expect((await collect(decompressStream(Readable.from([first]), 'zstd'))).equals(input)).toBe(
      true,
    );
  },
);

describe('decompression', () => {
  const programs = ['gzip', 'bzip2', 'xz', 'zstd'] as const;
  it.each(programs.filter(has))(
    'of what %s wrote is found by its first bytes',
    async (compression) => {
      const packed = execFileSync(compression, ['-c'], { input, maxBuffer: 1e8 });
      expect(detectCompression(packed.subarray(0, 6))).toBe(compression);
      expect(
        (await collect(decompressStream(Readable.from([packed]), compression))).equals(input),
      ).toBe(true);
      const cut = packed.subarray(0, packed.length - 1000);
      await expect(
        collect(decompressStream(Readable.from([cut]), compression)),
      ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    },
  );

  for (const program of programs.filter((name) => !has(name)))
    it.skip(`of what ${program} wrote (skipped: the program is missing)`, () => {});

  it('leaves a tar alone', async () => {
    expect(detectCompression(Buffer.from('etc/passwd'))).toBe('none');
    expect(detectCompression(Buffer.alloc(0))).toBe('none');
    expect((await collect(decompressStream(Readable.from([input]), 'none'))).equals(input)).toBe(
      true,
    );
  });

  it.each(['gzip', 'xz'] as const)(
    'of %s ends its source when nobody reads on',
    async (compression) => {
      const packed =
        compression === 'gzip'
          ? await collect(compressTar(inChunks(100_000), { type: 'gzip' }, threads))
          : execFileSync('xz', ['-c0'], { input, maxBuffer: 1e8 });
      const source = Readable.from([packed.subarray(0, 100_000), packed.subarray(100_000)]);
      for await (const chunk of decompressStream(source, compression)) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      expect(source.destroyed).toBe(true);
    },
  );

  it('names the package of a program that is missing', () => {
    const probe = `import { decompressStream } from ${JSON.stringify(path.resolve(__dirname, '../../src/layer/decompress'))};
      import { Readable } from 'node:stream';
      decompressStream(Readable.from([Buffer.from('x')]), 'xz').next().catch((error) => console.log(error.code, error.hint));`;
    const { outputFiles } = buildSync({
      stdin: { contents: probe, resolveDir: __dirname },
      bundle: true,
      platform: 'node',
      write: false,
    });
    const said = execFileSync(process.execPath, ['-'], {
      input: outputFiles[0]?.text ?? '',
      encoding: 'utf8',
      env: { PATH: '/nonexistent' },
    });
    expect(said).toBe('UNSUPPORTED install it: apt-get install xz-utils\n');
  });
});

import { createHash } from 'node:crypto';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

/**
 * The builder stage leaves something else each time, so that a result of it that is the same was
 * not made anew.
 */
const DOCKERFILE = `FROM small-base AS build
ARG GIT_SHA=a1
COPY tool.txt /
RUN cat tool.txt > /made && cat /proc/sys/kernel/random/uuid >> /made && head -c 300000 /dev/urandom > /unused
FROM small-base
COPY --from=build /made /made
COPY app.txt /
RUN cat /made /app.txt > /all && cat /proc/sys/kernel/random/uuid >> /all
`;

describeWith('a cache elsewhere', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let base: string;
  let context: string;
  let name: string;
  let serial = 0;

  beforeAll(async () => {
    registry = await startRegistry();
    base = join(temp.dir(), 'base.tar');
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok(['save', '-o', base, 'small-base']);
  });

  afterAll(() => registry?.stop());

  beforeEach(() => {
    context = writeFiles(temp.dir('context'), {
      Dockerfile: DOCKERFILE,
      'tool.txt': 'tool\n',
      'app.txt': 'app\n',
    });
    name = `${registry.host}/cache:${serial++}`;
  });

  /** A machine with an empty store. */
  async function machine(): Promise<Mbuild> {
    const mbuild = new Mbuild(temp.dir('store'));
    await mbuild.ok(['load', '-q', '-i', base]);
    return mbuild;
  }

  /**
   * Whether each instruction was cached, in order: the builder's COPY and RUN, then the three of
   * the image.
   */
  function cached(steps: Awaited<ReturnType<Mbuild['build']>>['steps']): boolean[] {
    return instructionSteps(steps.filter((step) => step.done || step.cached)).map(
      (step) => step.cached,
    );
  }

  it('in a registry gives another machine the same image, and only the layers that this is made of', async () => {
    const [first, second] = [await machine(), await machine()];
    const made = await first.build(['--cache-to', `type=registry,ref=${name},mode=max`, context]);
    const before = readdirSync(join(second.root, 'chains')).length;
    const { id, steps, stderr } = await second.build(['--cache-from', name, context]);
    expect(id).toBe(made.id);
    expect(cached(steps)).toEqual([true, true, true, true, true]);
    expect(stderr).toContain(`from the cache of ${name}`);
    expect(readdirSync(join(second.root, 'chains')).length - before).toBe(3);
    expect(await second.ok(['explain'])).toContain(`from the cache of ${name}; it ran`);
  });

  it('is not asked when the store has everything', async () => {
    const mbuild = await machine();
    await mbuild.build([context]);
    const { steps, stderr } = await mbuild.build([
      '--cache-from',
      'localhost:1/nobody/there',
      context,
    ]);
    expect(cached(steps)).not.toContain(false);
    expect(stderr).not.toContain('importing cache');
  });

  it('explains a miss by what the other machine built', async () => {
    const [first, second] = [await machine(), await machine()];
    await first.build(['--cache-to', `type=registry,ref=${name},mode=max`, context]);
    appendFileSync(join(context, 'app.txt'), 'more\n');
    const { steps, stderr } = await second.build([
      '--cache-from',
      `type=registry,ref=${name}`,
      context,
    ]);
    expect(cached(steps)).toEqual([true, true, true, false, false]);
    expect(stderr).toContain(
      `not cached: app.txt changed (+5 B) (compared with the cache of ${name})`,
    );
    expect(await second.ok(['explain'])).toContain(
      `compared with the cache of ${name}\n    app.txt changed (+5 B)`,
    );
    const variable = await second.build([
      '--cache-from',
      name,
      '--build-arg',
      'GIT_SHA=b2',
      '--target',
      'build',
      context,
    ]);
    expect(variable.stderr).toContain(
      `not cached: ARG GIT_SHA a1→b2 (declared on line 2, used by no later RUN)`,
    );
  });

  it('with mode=min has the steps of the image alone', async () => {
    const [first, second] = [await machine(), await machine()];
    await first.build(['--cache-to', `type=registry,ref=${name},mode=min`, context]);
    const { steps } = await second.build(['--cache-from', name, context]);
    expect(cached(steps).slice(0, 2)).toEqual([false, false]);
    const plain = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nCOPY a /\nRUN cat /proc/sys/kernel/random/uuid > /b\n',
      a: 'a\n',
    });
    const made = await first.build(['--cache-to', name, plain]);
    const taken = await second.build(['--cache-from', name, plain]);
    expect(cached(taken.steps)).toEqual([true, true]);
    expect(taken.id).toBe(made.id);
  });

  it.each([
    ['--cache-to', 'type=inline'],
    ['--build-arg', 'BUILDKIT_INLINE_CACHE=1'],
  ])('in the image itself (%s %s) gives its own steps', async (...flags) => {
    const [first, second] = [await machine(), await machine()];
    const plain = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nCOPY a /\nRUN cat /proc/sys/kernel/random/uuid > /b\n',
      a: 'a\n',
    });
    await first.build([...flags, '-t', name, '--push', plain]);
    const { steps } = await second.build(['--cache-from', name, '-t', 'again', plain]);
    expect(cached(steps)).toEqual([true, true]);
    expect((await second.inspect('again')).RootFS.Layers).toEqual(
      (await first.inspect(name)).RootFS.Layers,
    );
  });

  it('in a folder keeps what its tags need and no more', async () => {
    const [first, second] = [await machine(), await machine()];
    const folder = join(temp.dir(), 'cache');
    const blobs = (): string[] => readdirSync(join(folder, 'blobs', 'sha256')).sort();
    const made = await first.build(['--cache-to', `type=local,dest=${folder},mode=max`, context]);
    const before = blobs();
    expect((await second.build(['--cache-from', `type=local,src=${folder}`, context])).id).toBe(
      made.id,
    );
    await first.build(['--cache-to', `type=local,dest=${folder},mode=max,tag=other`, context]);
    expect(blobs()).toEqual(before);
    await first.build([
      '--cache-to',
      `type=local,dest=${folder},mode=max,tag=other`,
      '--no-cache',
      context,
    ]);
    expect(blobs().length).toBeGreaterThan(before.length);
    writeFileSync(
      join(folder, 'blobs', 'sha256', 'f'.repeat(64)),
      'left by a build that was killed',
    );
    const { stderr } = await first.build([
      '--cache-to',
      `type=local,dest=${folder},mode=max`,
      context,
    ]);
    expect(stderr).toMatch(/\d+ blobs of earlier caches deleted/);
    expect(blobs()).not.toContain('f'.repeat(64));
    const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
      manifests: unknown[];
    };
    expect(index.manifests).toHaveLength(2);
  });

  it('is read from several places, and written on from one to the next', async () => {
    const [first, second, third] = [await machine(), await machine(), await machine()];
    const folder = join(temp.dir(), 'cache');
    const made = await first.build([
      '--cache-to',
      `type=registry,ref=${name},mode=max,compression=uncompressed`,
      context,
    ]);
    await second.build([
      '--cache-from',
      'type=local,src=/nowhere/at/all',
      '--cache-from',
      name,
      '--cache-to',
      `type=local,dest=${folder},mode=max`,
      '--cache-to',
      `type=registry,ref=${name}-copy,mode=max,oci-mediatypes=true,image-manifest=true`,
      context,
    ]);
    const { id, steps } = await third.build(['--cache-from', `type=local,src=${folder}`, context]);
    expect(id).toBe(made.id);
    expect(cached(steps)).not.toContain(false);
  });

  it('that cannot be read or written is a warning, unless that is ruled out', async () => {
    const mbuild = await machine();
    const { stderr } = await mbuild.build([
      '--cache-from',
      'localhost:1/nobody',
      '--cache-to',
      'type=registry,ref=localhost:1/nobody',
      context,
    ]);
    expect(stderr).toMatch(/the cache of localhost:1\/nobody:latest is not used here: /);
    expect(stderr).toMatch(/the cache could not be written to localhost:1\/nobody:latest: /);
    const failed = await mbuild.run([
      'build',
      '--cache-to',
      'type=registry,ref=localhost:1/nobody,ignore-error=false',
      context,
    ]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/REGISTRY_UNREACHABLE/);
    expect((await (await machine()).build(['--cache-from', name, context])).stderr).toContain(
      'it is still empty',
    );
  });

  it('is asked by plan, which fetches no layer', async () => {
    const [first, second] = [await machine(), await machine()];
    await first.build(['--cache-to', `type=registry,ref=${name},mode=max`, context]);
    const before = readdirSync(join(second.root, 'chains')).length;
    const found = JSON.parse(
      await second.ok(['plan', '--format=json', '--cache-from', name, context]),
    ) as { hits: number; misses: number; fetches: { from: string; bytes: number }[] };
    expect(found).toMatchObject({ hits: 5, misses: 0, fetches: [{ from: name }] });
    expect(readdirSync(join(second.root, 'chains')).length).toBe(before);
    expect(await second.ok(['plan', '--cache-from', name, context])).toMatch(
      new RegExp(`fetch from the cache of ${name} \\(`),
    );
  });

  describe('that was tampered with', () => {
    type Json = Record<string, unknown>;
    interface Tampered {
      readonly layers: string[];
      readonly selections: string[];
      readonly records: (Json & { key: string; input: Json; layer?: Json; text: string })[];
      digests: Record<string, string>;
    }

    let folder: string;
    let honest: string;

    beforeEach(async () => {
      folder = join(temp.dir(), 'cache');
      honest = (
        await (
          await machine()
        ).build([
          '--cache-to',
          `type=local,dest=${folder},mode=max,compression=uncompressed`,
          context,
        ])
      ).id;
    });

    const blob = (digest: string): string =>
      join(folder, 'blobs', 'sha256', digest.replace('sha256:', ''));
    const store = (bytes: string | Buffer): { digest: string; size: number } => {
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      writeFileSync(blob(digest), bytes);
      return { digest, size: Buffer.byteLength(bytes) };
    };

    /** Changes the cache and makes all digests fit again, as one could who may write to it. */
    function tamper(
      edit: (
        config: Tampered,
        manifest: { layers: { digest: string; size: number; mediaType: string }[] },
      ) => void,
    ): void {
      const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
        manifests: [Json & { digest: string }];
      };
      const manifest = JSON.parse(readFileSync(blob(index.manifests[0].digest), 'utf8')) as Json & {
        config: Json & { digest: string };
        layers: { digest: string; size: number; mediaType: string }[];
      };
      const config = JSON.parse(readFileSync(blob(manifest.config.digest), 'utf8')) as Tampered;
      edit(config, manifest);
      Object.assign(manifest.config, store(JSON.stringify(config)));
      Object.assign(index.manifests[0], store(JSON.stringify(manifest)));
      writeFileSync(join(folder, 'index.json'), JSON.stringify(index));
    }

    /**
     * A build on a fresh machine: what of the cache it took, and what it said. The image is a sound
     * one.
     */
    async function afterwards(): Promise<{ id: string; cached: boolean[]; stderr: string }> {
      const mbuild = await machine();
      const { id, steps, stderr } = await mbuild.build([
        '--cache-from',
        `type=local,src=${folder}`,
        '-t',
        'made',
        context,
      ]);
      expect(await mbuild.ok(['run', '--rm', 'made', 'head', '-n1', '/all'])).toBe('tool');
      return { id, cached: cached(steps).slice(-3), stderr };
    }

    it('by changing bytes of a layer: the step is run instead', async () => {
      tamper(({ layers }) => {
        for (const diffId of layers)
          writeFileSync(blob(diffId), Buffer.alloc(readFileSync(blob(diffId)).length, 1));
      });
      const { id, stderr } = await afterwards();
      expect(id).not.toBe(honest);
      expect(stderr).toMatch(/the cache of .* is not used here: expected sha256:/);
    });

    it('by deleting layers: the steps are run instead', async () => {
      tamper(({ layers }) => layers.forEach((diffId) => writeFileSync(blob(diffId), '')));
      expect((await afterwards()).stderr).toMatch(/is not used here/);
    });

    it('by giving a record the key of another step', async () => {
      tamper(({ records }) => {
        const [a, b] = [records.at(-1), records.at(-2)];
        if (a !== undefined && b !== undefined) [a.key, b.key] = [b.key, a.key];
      });
      const { cached: found, stderr } = await afterwards();
      expect(stderr).toContain(`is not used here: the record of "RUN cat /made /app.txt`);
      expect(stderr).toContain('has the key of another step');
      expect(found).toEqual([true, false, false]);
    });

    it('by giving a record the layer of another one', async () => {
      tamper(({ records }) => {
        const [a, b] = [records.at(-1), records.at(-2)];
        if (a !== undefined && b?.layer !== undefined) a.layer = b.layer;
      });
      expect((await afterwards()).cached).toEqual([true, true, false]);
    });

    it('by letting a DiffID stand for other bytes', async () => {
      tamper((config, manifest) => {
        manifest.layers.forEach((layer, i) => {
          if (i < config.layers.length) Object.assign(layer, store(Buffer.alloc(1024)));
        });
      });
      const { id, stderr } = await afterwards();
      expect(id).not.toBe(honest);
      expect(stderr).toMatch(/is not used here: .*sha256:/);
    });

    it('by saying that files of a stage are others than they are', async () => {
      tamper((config, manifest) => {
        config.digests = Object.fromEntries(
          Object.keys(config.digests).map((memo) => [memo, `sha256:${'0'.repeat(64)}`]),
        );
        expect(manifest.layers.length).toBeGreaterThan(0);
      });
      const { id, stderr } = await afterwards();
      expect(id).toBe(honest);
      expect(stderr).toContain('its record of a file does not match the file');
    });

    it.each<[string, (config: Tampered) => void, RegExp]>([
      [
        'is no JSON of a cache',
        (config) => Object.assign(config, { records: 'none' }),
        /its config has a "records" that is not a list/,
      ],
      [
        'lists more layers than there are',
        (config) => {
          config.layers.push(`sha256:${'1'.repeat(64)}`);
        },
        /its config and its manifest do not match/,
      ],
      [
        'has a record without a key',
        (config) => {
          for (const record of config.records) record.key = '';
        },
        /a record does not have the form that its version promises/,
      ],
      [
        'has a record with a layer that is not there',
        (config) => {
          for (const record of config.records)
            if (record.layer !== undefined) record.layer.diffId = `sha256:${'2'.repeat(64)}`;
        },
        /has a layer that is missing/,
      ],
      [
        'is of another version',
        (config) => Object.assign(config, { version: 2 }),
        /holds no cache that this version of mbuild can read/,
      ],
      [
        'has keys of another form',
        (config) => Object.assign(config, { keys: 'mbuild-key-0' }),
        /holds no cache that this version of mbuild can read/,
      ],
    ])('by a config that %s: it is passed over', async (_, edit, said) => {
      tamper(edit);
      const { cached: found, stderr } = await afterwards();
      expect(stderr).toMatch(said);
      expect(found).toEqual([false, false, false]);
    });

    it('by paths and text with control characters: they reach no terminal', async () => {
      tamper(({ records }) => {
        for (const record of records) record.text = `RUN \u001b[31mred ${record.text}`;
      });
      appendFileSync(join(context, 'app.txt'), 'more\n');
      const { stderr } = await (
        await machine()
      ).build(['--cache-from', `type=local,src=${folder}`, context]);
      expect(stderr).not.toContain('\u001b');
    });
  });
});

import { MbuildError } from '../../src/diagnostics/error';
import { parseDockerfile } from '../../src/dockerfile/parse';
import type { BaseImage, Graph, Step } from '../../src/graph/graph';
import { planGraph, type PlanOptions } from '../../src/graph/plan';
import { digestOf } from '../../src/oci/digest';
import type { ContainerConfig } from '../../src/oci/image';

const AMD64 = { os: 'linux', architecture: 'amd64' };

function imageOf(name: string, base: ContainerConfig = {}): BaseImage {
  return {
    name,
    config: { ...AMD64, config: base, rootfs: { type: 'layers', diff_ids: [] } },
    descriptor: { mediaType: '', digest: digestOf(''), size: 0 },
    stack: () => Promise.resolve([]),
  };
}

/** Plans a Dockerfile over images that have the given config and nothing in them. */
function plan(
  lines: readonly string[],
  options: Partial<PlanOptions> & { readonly base?: ContainerConfig } = {},
): Promise<Graph> {
  const { base, ...given } = options;
  return planGraph(parseDockerfile({ name: 'Dockerfile', text: [...lines, ''].join('\n') }), {
    platform: AMD64,
    buildPlatform: AMD64,
    buildArgs: {},
    labels: {},
    network: 'none',
    allowInsecure: false,
    contexts: [],
    findImage: (name) => Promise.resolve(imageOf(name, base)),
    warn: () => undefined,
    ...given,
  });
}

async function configOf(
  lines: readonly string[],
  base?: ContainerConfig,
): Promise<ContainerConfig> {
  return (await plan(lines, base === undefined ? {} : { base })).target.config;
}

async function historyOf(...lines: readonly string[]): Promise<string[]> {
  return (await plan(lines)).target.history.map((item) => item.createdBy);
}

async function stepsOf(...lines: readonly string[]): Promise<readonly Step[]> {
  return (await plan(lines)).target.steps;
}

describe('the config of an image', () => {
  it("holds nothing that is empty, and no members of Docker's containers", async () => {
    const docker = {
      Hostname: '',
      AttachStdin: false,
      Image: '',
      Labels: null,
      Entrypoint: null,
      Cmd: ['sh'],
      Env: ['PATH=/bin'],
    } as unknown as ContainerConfig;
    expect(await configOf(['FROM a'], docker)).toEqual({ Env: ['PATH=/bin'], Cmd: ['sh'] });
    expect(await configOf(['FROM a', 'CMD []', 'ENTRYPOINT []'], docker)).toEqual({
      Env: ['PATH=/bin'],
      ArgsEscaped: true,
    });
  });

  it('has a PATH in any case, and a working directory where there was no image', async () => {
    const Env = [expect.stringMatching(/^PATH=.*\/bin/)];
    expect(await configOf(['FROM scratch'])).toEqual({ Env, WorkingDir: '/' });
    expect(await configOf(['FROM a'])).toEqual({ Env });
  });

  it.each([
    ['/app/', '/app/'],
    ['//a/./b', '//a/./b'],
    ['rel/', '/w/rel'],
    ['..', '/'],
    ['$nothing', '/w'],
  ])('has WORKDIR %s behind WORKDIR /w as %s', async (written, kept) => {
    expect((await configOf(['FROM a', 'WORKDIR /w', `WORKDIR ${written}`])).WorkingDir).toBe(kept);
  });

  it('is for the platform of the build where the base is scratch, for that of the image otherwise', async () => {
    expect((await plan(['FROM --platform=linux/arm64 scratch'])).target.platform).toMatchObject(
      AMD64,
    );
    expect((await plan(['FROM --platform=linux/arm64 a'])).target.platform).toMatchObject(AMD64);
  });

  it('is for the platform that was asked for, whatever the base is for', async () => {
    const platform = { os: 'linux', architecture: 'arm64' };
    expect((await plan(['FROM a'], { platform, isPlatformGiven: true })).target.platform).toEqual(
      platform,
    );
  });

  it.each([
    ['80/', ['80/tcp']],
    ['+80', ['80/tcp']],
    ['127.0.0.1:8000-8001:80-81/udp', ['80/udp', '81/udp']],
    ['8000-8010:80', ['80/tcp']],
    ['[::1]:80:90', ['90/tcp']],
    ['127.0.0.1::9', ['9/tcp']],
  ])('has EXPOSE %s as %j', async (word, ports) => {
    expect(Object.keys((await configOf(['FROM a', `EXPOSE ${word}`])).ExposedPorts ?? {})).toEqual(
      ports,
    );
  });

  it.each(['8000-8002:80-81', '8001-8000:80-81', 'x.y:80:80', '80:', '/tcp', '70000'])(
    'refuses EXPOSE %s',
    async (word) => {
      await expect(plan(['FROM a', `EXPOSE ${word}`])).rejects.toMatchObject({
        code: 'DOCKERFILE_SEMANTIC',
      });
    },
  );
});

describe('the history of an image', () => {
  it('has the ports in the order of their words', async () => {
    expect(await historyOf('FROM a', 'ENV p="80 443/udp"', 'EXPOSE 9 $p 8000-8001')).toEqual([
      'ENV p=80 443/udp',
      'EXPOSE [80/tcp 443/udp 8000/tcp 8001/tcp 9/tcp]',
    ]);
  });

  it('shows heredocs by their names', async () => {
    expect(
      await historyOf('FROM a', 'ARG f=x', 'COPY <<"one" <<-two "$f" /d/', 'one', '\ttwo'),
    ).toEqual(['ARG f=x', 'COPY x <<one <<two /d/ # buildkit']);
  });

  it('shows a script with an interpreter line as what the shell executes', async () => {
    expect(await historyOf('FROM a', 'RUN <<EOF', '#!/bin/awk', 'EOF')).toEqual([
      'RUN /bin/sh -c /dev/pipes/EOF # buildkit',
    ]);
  });
});

describe('HEALTHCHECK', () => {
  it('is in the history as Dockerfile 1.24 writes it', async () => {
    expect(
      await historyOf('FROM a', 'HEALTHCHECK --interval=90s --retries=34 CMD ["a", "b"]'),
    ).toEqual([
      'HEALTHCHECK {Test:[CMD a b] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:34}',
    ]);
  });
});

describe('stages that one step needs several times', () => {
  /** Resolves after the others, so that they wait for it at the same time. */
  const slow = async (name: string): Promise<BaseImage> => {
    await new Promise((resolve) => setTimeout(resolve, name === 'slow' ? 5 : 0));
    return imageOf(name);
  };

  it.each([
    [
      'the same stage twice',
      ['FROM slow AS a', 'FROM b', 'RUN --mount=from=a,target=/x --mount=from=a,target=/y z'],
    ],
    [
      'two stages on one',
      [
        'FROM slow AS base',
        'FROM base AS a',
        'FROM base AS b',
        'FROM c',
        'RUN --mount=from=a,target=/x --mount=from=b,target=/y --mount=from=base,target=/z z',
      ],
    ],
    [
      'a cache and a bind mount',
      [
        'FROM slow AS a',
        'FROM b',
        'RUN --mount=type=cache,from=a,target=/x --mount=from=a,target=/y z',
      ],
    ],
    [
      'a stage, and one that copies from it',
      [
        'FROM slow AS a',
        'FROM b AS b',
        'COPY --from=a / /',
        'FROM b',
        'RUN --mount=from=b,target=/x --mount=from=a,target=/y --mount=from=ctx,target=/z z',
      ],
    ],
  ])('are planned once: %s', async (_what, lines) => {
    const { stages } = await plan(lines, {
      findImage: slow,
      contexts: ['ctx'],
      namedContext: () => Promise.resolve({ kind: 'stage', name: 'a' }),
    });
    const names = stages.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are planned once for an ONBUILD trigger', async () => {
    const base = {
      OnBuild: ['RUN --mount=from=a,target=/x --mount=from=b,target=/y z'],
    };
    const lines = ['FROM scratch AS base', 'FROM base AS a', 'FROM base AS b', 'FROM on'];
    expect((await plan(lines, { base })).stages).toHaveLength(4);
  });

  it('are refused where they need each other, whichever is planned first', async () => {
    const contexts: Readonly<Record<string, string>> = { one: 'b', two: 'a' };
    const lines = [
      'FROM slow AS a',
      'COPY --from=one / /',
      'FROM slow AS b',
      'COPY --from=two / /',
      'FROM c',
      'RUN --mount=from=a,target=/x --mount=from=b,target=/y z',
    ];
    await expect(
      plan(lines, {
        findImage: slow,
        contexts: Object.keys(contexts),
        namedContext: (name) => Promise.resolve({ kind: 'stage', name: contexts[name] ?? '' }),
      }),
    ).rejects.toMatchObject({ code: 'CIRCULAR_STAGES' });
  });
});

describe('paths and owners that cannot be', () => {
  const LONG = 'n'.repeat(256);

  it.each([
    `COPY f /${LONG}/x`,
    `COPY ${LONG} /x`,
    'COPY f /a\0b',
    'COPY ["a\\u0000b", "/x"]',
    `WORKDIR ${LONG}`,
    'WORKDIR a\0',
    `RUN --mount=type=tmpfs,target=/${LONG} x`,
    'RUN --mount=source=a\0,target=/x x',
    `COPY <<${LONG} /x/\n${LONG}`,
    'COPY --chown=4294967295 f /x',
    'COPY --chown=1:99999999999 f /x',
  ])('are refused with their line: %j', async (line) => {
    await expect(plan(['FROM a', line])).rejects.toMatchObject({
      code: 'DOCKERFILE_SEMANTIC',
      range: { start: { line: 2 } },
    });
  });

  it('are names of 255 bytes and ids of 32 bits no more', async () => {
    await plan(['FROM a', `COPY --chown=4294967294:0 f /${LONG.slice(1)}`]);
  });
});

describe('values that grow', () => {
  const MEGABYTE = 'x'.repeat(1_000_000);
  const doubled = (line: (from: string, to: string) => string): string[] => [
    'FROM a',
    line('0123456789abcdef', 'a0'),
    ...Array.from({ length: 27 }, (_, i) => line(`\${a${i}}\${a${i}}`, `a${i + 1}`)),
  ];

  it.each<[string, readonly string[], number]>([
    ['ENV', doubled((from, to) => `ENV ${to}=${from}`), 19],
    ['ARG', doubled((from, to) => `ARG ${to}=${from}`), 19],
    ['LABEL', ['FROM a', `ENV A=${MEGABYTE}`, 'LABEL a=1', 'LABEL b=$A$A'], 4],
    ['a value', ['FROM a', `ENV A=${MEGABYTE}x${MEGABYTE}`], 2],
    [
      'an environment',
      ['FROM a', ...Array.from({ length: 9 }, (_, i) => `ENV E${i}=${MEGABYTE}`)],
      6,
    ],
    [
      'labels',
      ['FROM a', `ENV A=${MEGABYTE}`, ...Array.from({ length: 9 }, (_, i) => `LABEL l${i}=$A`)],
      7,
    ],
    [
      'a history',
      ['FROM a', `ENV A=${MEGABYTE}`, ...Array.from({ length: 20 }, () => 'ENV B=$A')],
      18,
    ],
    [
      'a replacement',
      [
        'FROM a',
        `ENV A=${MEGABYTE}`,
        'ENV B=${A//x/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}',
      ],
      3,
    ],
    ['a word of COPY', ['FROM a', `ENV A=${MEGABYTE}`, 'COPY f $A$A$A'], 3],
  ])('are refused with their line: %s', async (_what, lines, line) => {
    await expect(plan(lines)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      hint: expect.stringMatching(/./),
      range: { start: { line } },
    });
  });

  it('may be as long as a megabyte, and lines as many as one likes', async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => `ENV N${i % 15_000}=${i}`);
    const { target } = await plan(['FROM a', `ENV A=${MEGABYTE}`, ...many, 'RUN x']);
    expect(target.history).toHaveLength(20_002);
    expect(target.config.Env).toHaveLength(15_002);
    const triggers = Array.from({ length: 20_000 }, (_, i) => `ENV N${i}=${i}`);
    const base = { OnBuild: triggers };
    expect((await plan(['FROM a'], { base })).target.config.Env).toHaveLength(20_001);
    const written = ['FROM a', ...triggers.map((trigger) => `ONBUILD ${trigger}`)];
    expect((await plan(written)).target.config.OnBuild).toHaveLength(20_000);
  });
});

describe('a stage on a stage', () => {
  it('has the ENV below it, not the ARG that stood over it there, and that ARG where there is no ENV', async () => {
    const [step] = await stepsOf(
      'FROM a AS below',
      'ENV A=env',
      'ARG A=arg',
      'ARG B=only',
      'FROM below',
      'COPY $A $B /d/',
    );
    expect(step?.operation).toMatchObject({ sources: [{ path: 'env' }, { path: 'only' }] });
  });
});

describe('ARG', () => {
  it('does not look at the default of a name that is given, and expands no name', async () => {
    const { target } = await plan(
      ['ARG g=${u:?no}', 'FROM a', 'ARG g', 'ARG s=${u:?no}', 'ARG n=1 $n=2'],
      { buildArgs: { g: 'G', s: 'S' } },
    );
    expect(target.history.map((item) => item.createdBy)).toEqual([
      'ARG g=G',
      'ARG s=S',
      'ARG n=1 $n=2',
    ]);
  });
});

describe('COPY', () => {
  it('takes heredocs last, as the history tells', async () => {
    const [step] = await stepsOf('FROM a', 'COPY <<x y <<z /d/', 'x', 'z');
    expect(step?.operation).toMatchObject({
      sources: [
        { kind: 'path', path: 'y' },
        { kind: 'inline', name: 'x' },
        { kind: 'inline', name: 'z' },
      ],
    });
    expect(await historyOf('FROM a', 'COPY <<x y <<z /d/', 'x', 'z')).toEqual([
      'COPY y <<x <<z /d/ # buildkit',
    ]);
  });

  it('has the working directory for an empty destination, and all for an empty source', async () => {
    const [, step] = await stepsOf('FROM a', 'WORKDIR /w', 'COPY $none $none');
    expect(step?.operation).toMatchObject({ sources: [{ kind: 'path', path: '' }], dest: '/w/' });
  });

  it('takes an owner or mode that is empty after expansion for none', async () => {
    expect(
      (await stepsOf('FROM a', 'COPY --chown=$no --chmod=${no} a /b'))[0]?.operation,
    ).toMatchObject({ chown: undefined, chmod: undefined });
  });

  it('expands nothing in --exclude', async () => {
    expect(
      (await stepsOf('FROM a', 'ARG e=x', 'COPY --exclude=$e . /b'))[0]?.operation,
    ).toMatchObject({ exclude: ['$e'] });
  });

  it('copies from scratch, which is empty', async () => {
    expect((await stepsOf('FROM a', 'COPY --from=scratch / /b'))[0]?.operation).toMatchObject({
      from: { kind: 'stage', stage: { steps: [], base: { kind: 'scratch' } } },
    });
  });
});

describe('RUN', () => {
  it('hands heredocs to the shell as written, tabs and all', async () => {
    expect(await historyOf('FROM a', 'RUN cat <<-A', '\tt', '\tA')).toEqual([
      'RUN /bin/sh -c cat <<-A\n\tt\nA # buildkit',
    ]);
  });

  it('looks for an interpreter line behind the tabs that are removed', async () => {
    expect(await historyOf('FROM a', 'RUN <<-A', '\t#!/bin/x', '\tA')).toEqual([
      'RUN /bin/sh -c /dev/pipes/A # buildkit',
    ]);
    expect(await historyOf('FROM a', 'RUN <<A', '\t#!/bin/x', 'A')).toEqual([
      'RUN /bin/sh -c \t#!/bin/x\n # buildkit',
    ]);
  });

  it.each([
    [['--mount=target=/m', '--mount=type=ssh'], '/run/buildkit/ssh_agent.0'],
    [['--mount=type=ssh,target=/s', '--mount=type=ssh,id=b'], '/s'],
  ])('with %j is told where the first SSH agent is', async (flags, place) => {
    const [step] = await stepsOf('FROM a', `RUN ${flags.join(' ')} x`);
    expect(step?.operation.kind === 'run' && step.operation.env).toContain(
      `SSH_AUTH_SOCK=${place}`,
    );
  });

  it('keeps an SSH_AUTH_SOCK that ENV has set', async () => {
    const [step] = await stepsOf('FROM a', 'ENV SSH_AUTH_SOCK=/mine', 'RUN --mount=type=ssh x');
    expect(step?.operation.kind === 'run' && step.operation.env.slice(1)).toEqual([
      'SSH_AUTH_SOCK=/mine',
    ]);
  });
});

describe('what names no stage and no image', () => {
  it('is perhaps a build context, or the error lists those that are declared', async () => {
    const findImage = (): Promise<never> =>
      Promise.reject(new MbuildError('REGISTRY_DENIED', 'no such image'));
    const contexts = ['sources', 'assets'];
    await expect(
      plan(['FROM scratch', 'COPY --from=source /a /a'], { findImage, contexts }),
    ).rejects.toMatchObject({ hint: 'did you mean the build context sources?' });
    await expect(
      plan(['FROM scratch', 'RUN --mount=from=files,target=/x y'], { findImage, contexts }),
    ).rejects.toMatchObject({ hint: 'the declared build contexts are sources, assets' });
  });

  it('is perhaps a stage whose name is misspelled', async () => {
    const findImage = (): Promise<never> =>
      Promise.reject(new MbuildError('REGISTRY_UNREACHABLE', 'nobody answers'));
    await expect(
      plan(['FROM scratch AS build', 'FROM scratch', 'COPY --from=biuld /a /a'], { findImage }),
    ).rejects.toMatchObject({
      code: 'UNKNOWN_STAGE',
      hint: 'did you mean the stage build?',
      range: { start: { line: 3 } },
    });
  });

  it('or of another kind is shown with its file and line, also in a flag', async () => {
    await expect(plan(['FROM a', 'RUN --mount=type=chace,target=/x true'])).rejects.toMatchObject({
      file: { name: 'Dockerfile' },
      range: { start: { line: 2, column: 5 } },
    });
  });

  it('includes a stage that FROM writes in upper case', async () => {
    await expect(plan(['FROM a AS One', 'FROM One'])).rejects.toMatchObject({
      code: 'REFERENCE_INVALID',
      hint: expect.stringContaining('FROM one'),
    });
  });

  it('includes a platform that is empty after expansion, and a word that is no platform', async () => {
    await expect(plan(['FROM --platform=$p a'])).rejects.toMatchObject({
      code: 'DOCKERFILE_SEMANTIC',
    });
    await expect(plan(['FROM --platform=local a'])).rejects.toMatchObject({
      code: 'DOCKERFILE_SEMANTIC',
    });
  });

  it.each([
    ['a stage of --target by its number', ['FROM a'], { target: '0' }, 'UNKNOWN_STAGE'],
    [
      'a stage of a mount by its number',
      ['FROM a', 'FROM b', 'RUN --mount=from=0,target=/m x'],
      {},
      'UNKNOWN_STAGE',
    ],
    [
      'a base in upper case, in a stage that is not needed',
      ['FROM x/UPPER AS unused', 'FROM a'],
      {},
      'REFERENCE_INVALID',
    ],
    [
      'an empty base, in a stage that is not needed',
      ['FROM $nothing AS unused', 'FROM a'],
      {},
      'DOCKERFILE_SEMANTIC',
    ],
  ])('is refused: %s', async (_what, lines, options, code) => {
    await expect(plan(lines, options)).rejects.toMatchObject({ code });
  });

  it('is accepted where it is a named context', async () => {
    await expect(plan(['FROM Files AS x'], { contexts: ['Files'] })).resolves.toMatchObject({
      target: { name: 'x' },
    });
  });
});

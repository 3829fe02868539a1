import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { removeMount } from '../../src/cache/mounts';
import { configOf } from '../../src/cache/remote/format';
import { LocalContentStore } from '../../src/content/local-store';
import { asForeseen, type ErrorCode } from '../../src/diagnostics/error';
import { renderError } from '../../src/diagnostics/render';
import { unsafe } from '../../src/layer/entry-names';
import type { TarEntry } from '../../src/layer/tar/entry';
import { tryLock } from '../../src/linux/flock';
import type { Digest } from '../../src/oci/digest';
import { FileClient } from '../../src/registry/download-file';
import { networkError } from '../../src/registry/network-error';
import { failureError } from '../../src/sandbox/namespaces/failure';
import { cannotRun } from '../../src/solver/foreign';
import { smallBase } from '../support/bases';
import { fixture, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { startWebServer, type WebServer } from '../support/web-server';

// Every error code once, as a user reads it: fixtures/voice/errors.txt shows the voice of mbuild in
// one place. The type of EXAMPLES asks for an example of each code.

const GOLDEN = fixture('voice', 'errors.txt');
const RECORD = 'MBUILD_RECORD=1 npx jest test/diagnostics/voice.test.ts';

/** A command line that fails. `{server}` in it is a web server on this machine. */
interface Provoked {
  readonly args: readonly string[];
  /** What is in the directory where it runs. */
  readonly files?: Readonly<Record<string, string>>;
  /** Command lines that run before. */
  readonly first?: readonly (readonly string[])[];
  readonly input?: string;
}

/** Where a state of the machine would be needed: the function that makes the error. */
type Made = (temp: string, server: string) => unknown;

const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;

const build = (dockerfile: string, ...flags: string[]): Provoked => ({
  args: ['build', '-q', ...flags, '.'],
  files: { Dockerfile: dockerfile, 'a.txt': 'a\n', 'dir/b.txt': 'b\n' },
});

const pull = (name: string): Provoked => ({
  args: ['pull', '-q', '--insecure-registry', '{host}', `{host}/${name}/app`],
});

const system = (code: string, message: string): Error =>
  Object.assign(new Error(`${code}: ${message}`), { code });

const EXAMPLES: Readonly<Record<ErrorCode, Provoked | Made>> = {
  USAGE: build('FROM scratch\n', '--jobs', '0'),
  BAKE_INVALID: {
    args: ['bake'],
    files: { 'docker-bake.hcl': 'target "default" {\n  tags = "app"\n}\n' },
  },
  DOCKERFILE_NOT_FOUND: { args: ['build', '.'] },
  DOCKERFILE_EMPTY: build('# nothing\n'),
  DOCKERFILE_SYNTAX: build('FROM scratch\nSHELL ["/bin/sh", "-c"\n'),
  DOCKERFILE_SEMANTIC: build('RUN true\nFROM scratch\n'),
  UNKNOWN_INSTRUCTION: build('FROM scratch\nCOPPY a.txt /\n'),
  UNKNOWN_FLAG: build('FROM scratch\nCOPY --chwon=1 a.txt /\n'),
  UNKNOWN_STAGE: build('FROM scratch AS build\n', '--target', 'biuld'),
  CIRCULAR_STAGES: build('FROM scratch AS one\nCOPY --from=one /a /b\n'),
  CONTEXT_NOT_FOUND: { args: ['build', './nowhere'] },
  CONTEXT_INVALID: {
    args: ['build', '-q', '--build-context', 'src={server}/page', '.'],
    files: { Dockerfile: 'FROM scratch\nCOPY --from=src / /\n' },
  },
  IGNORE_FILE_INVALID: {
    args: ['build', '-q', '--ignorefile', 'none', '.'],
    files: { Dockerfile: 'FROM scratch\n' },
  },
  SOURCE_NOT_FOUND: build('FROM scratch\nCOPY package.josn /\n'),
  COPY_FAILED: build('FROM scratch\nCOPY a.txt /dir\nCOPY dir /dir\n'),
  DOWNLOAD_FAILED: build('FROM scratch\nADD {server}/none.txt /\n'),
  CHECKSUM_MISMATCH: build(`FROM scratch\nADD --checksum=${DIGEST} {server}/page /\n`),
  GIT_FAILED: { args: ['build', '-q', 'https://127.0.0.1:1/x.git'] },
  EXEC_FAILED: build('FROM small-base\nRUN npm ci\n'),
  EXEC_NOT_FOUND: build('FROM scratch\nRUN echo hello\n'),
  STEP_TIMEOUT: build('FROM small-base\nRUN sleep 60\n', '--step-timeout', '300ms'),
  BUILD_TIMEOUT: build('FROM small-base\nRUN sleep 60\n', '--timeout', '1s'),
  DEVICE_NOT_FOUND: build(
    'FROM small-base\nRUN --device=a/b=c,required true\n',
    '--allow',
    'device',
  ),
  DEVICE_SPEC: {
    args: ['build', '-q', '--allow', 'device', '--cdi-spec-dir', 'cdi', '.'],
    files: { Dockerfile: 'FROM small-base\nRUN --device=a/b=c,required true\n', 'cdi/x.json': '{' },
  },
  HOST_PATH_NOT_FOUND: build('FROM small-base\nRUN true\n', '-v', '/nowhere/at/all:/v'),
  SANDBOX_UNAVAILABLE: () =>
    failureError({ call: 'clone', what: 'make namespaces' }, 'EPERM', { args: ['true'], cwd: '/' }),
  SANDBOX_FAILED: () =>
    failureError({ call: 'mount', what: 'mount proc' }, 'EINVAL', { args: ['true'], cwd: '/' }),
  USER_NOT_FOUND: build('FROM small-base\nUSER nosuch\nRUN true\n'),
  IMAGE_NOT_FOUND: build('FROM nothing\n', '--offline', '--pull=never'),
  IMAGE_INVALID: pull('broken'),
  IMAGE_IN_USE: {
    first: [['create', '--name', 'user', 'small-base', 'true']],
    args: ['rmi', 'small-base'],
  },
  REFERENCE_INVALID: build('FROM Small_Base:\n'),
  PLATFORM_NOT_FOUND: build('FROM --platform=linux/s390x small-base\n', '--pull=never'),
  PLATFORM_UNSUPPORTED: () =>
    cannotRun({ file: '/bin/sh', architecture: 's390x', emulator: 'missing' }),
  CONTAINER_NOT_FOUND: { args: ['start', 'nothing'] },
  CONTAINER_CONFLICT: { args: ['create', '--name', 'user', 'small-base', 'true'] },
  BUILD_NOT_FOUND: { args: ['explain', 'nothing'] },
  REGISTRY_UNREACHABLE: build('FROM 127.0.0.1:1/team/app:1.0\n'),
  REGISTRY_DENIED: pull('denied'),
  REGISTRY_FAILED: pull('failing'),
  TLS_FAILED: () =>
    networkError(
      system('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'),
      new URL('https://registry.example'),
      new AbortController().signal,
    ),
  DIGEST_MISMATCH: (temp) =>
    new LocalContentStore(temp).ingest(Readable.from([Buffer.from('a')]), { digest: DIGEST }),
  SIZE_MISMATCH: (temp) =>
    new LocalContentStore(temp).ingest(Readable.from([Buffer.from('a')]), {
      digest: DIGEST,
      size: 5,
    }),
  ARCHIVE_INVALID: {
    args: ['import', 'a.tar', 'app'],
    files: { 'a.tar': 'not a tar'.repeat(100) },
  },
  ARCHIVE_UNSAFE: () => unsafe({ path: '../etc/passwd' } as TarEntry, 'its name holds ..'),
  LIMIT_EXCEEDED: build(`FROM scratch\nARG a=${'x'.repeat(64)}\n${doubled(22)}ENV b=$a\n`),
  CACHE_INVALID: () => configOf(Buffer.from('{"config":1}')),
  CACHE_SERVER_FAILED: putCache,
  STORE_UNUSABLE: { args: ['--root', '/proc/store/deep', 'images'] },
  STORE_CORRUPT: (temp) => new LocalContentStore(temp).open(DIGEST),
  STORE_LOCKED: removeLockedMount,
  NO_SPACE: () => asForeseen(system('ENOSPC', "no space left on device, write '/x'")),
  PERMISSION_DENIED: () => asForeseen(system('EACCES', "permission denied, open '/x'")),
  IO_FAILED: () => asForeseen(system('EIO', "i/o error, read '/x'")),
  CHECK_FAILED: {
    args: ['build', '--check', '.'],
    files: { Dockerfile: '# check=error=true\nFROM scratch AS Upper\nCOPY . /\n' },
  },
  SECRET_MISSING: build('FROM small-base\nRUN --mount=type=secret,id=key,required true\n'),
  NOT_ALLOWED: build('FROM small-base\nRUN --security=insecure true\n'),
  UNSUPPORTED: build('FROM scratch\n', '--squash'),
  CANCELED: () =>
    networkError(system('ABORT', 'x'), new URL('https://registry.example'), AbortSignal.abort()),
  INTERNAL: () => new TypeError("Cannot read properties of undefined (reading 'x')"),
};

/** ARG lines that make the value of `a` twice as long, `times` times. */
function doubled(times: number): string {
  return 'ARG a=$a$a\n'.repeat(times);
}

async function putCache(_temp: string, server: string): Promise<void> {
  const { signal } = new AbortController();
  const folder = await new FileClient().folder(new URL(`${server}/cache`));
  await folder.put('main.json', 2, () => Readable.from([Buffer.from('{}')]), signal);
}

function removeLockedMount(temp: string): void {
  const fd = openSync(join(temp, 'lock'), 'w');
  try {
    tryLock(fd, 'exclusive');
    removeMount({ id: '/root/.cache', folder: temp });
  } finally {
    closeSync(fd);
  }
}

describeWith('the voice', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let server: WebServer;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    server = await startWebServer();
    server.pages.set('/v2/', (_, response) => response.writeHead(200).end('{}'));
    server.pages.set('/page', (_, response) => response.writeHead(200).end('x'.repeat(3 << 20)));
    const answers = { denied: 403, failing: 400 };
    for (const [name, status] of Object.entries(answers))
      server.pages.set(`/v2/${name}/app/manifests/latest`, (_, response) =>
        response.writeHead(status).end(),
      );
    server.pages.set('/v2/broken/app/manifests/latest', (_, response) =>
      response
        .writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
        .end('{"schemaVersion":2}'),
    );
  });
  afterAll(() => server.stop());

  it('of every error code is as recorded', async () => {
    const shown: string[] = [];
    for (const [code, example] of Object.entries(EXAMPLES)) {
      const text = typeof example === 'function' ? await made(example) : await provoked(example);
      // A code that comes with another one's message is not an example of it.
      expect({ code, text }).toEqual({
        code,
        text: expect.stringContaining(`[${code}]`) as string,
      });
      shown.push(plain(text));
    }
    const voice = `${shown.join('\n\n')}\n`;
    if (process.env['MBUILD_RECORD'] === '1') {
      mkdirSync(dirname(GOLDEN), { recursive: true });
      writeFileSync(GOLDEN, voice);
    }
    const recorded = readFileSync(GOLDEN, 'utf8');
    if (voice !== recorded) console.log(`if the change is right, record it anew: ${RECORD}`);
    expect(voice).toBe(recorded);
  }, 120_000);

  async function made(example: Made): Promise<string> {
    try {
      return renderError(await example(temp.dir('made'), server.url));
    } catch (error) {
      return renderError(error);
    }
  }

  async function provoked({ args, files = {}, first = [], input }: Provoked): Promise<string> {
    const cwd = temp.dir('context');
    writeFiles(
      cwd,
      Object.fromEntries(Object.entries(files).map(([name, text]) => [name, filled(text)])),
    );
    for (const before of first) await mbuild.ok(before, { cwd });
    const { stderr } = await mbuild.run(args.map(filled), { cwd, input });
    return `$ mbuild ${args.join(' ').slice(0, 200)}\n${stderr.trimEnd()}`;
  }

  function filled(text: string): string {
    return text
      .replaceAll('{server}', server.url)
      .replaceAll('{host}', server.url.slice('http://'.length));
  }

  /** Without what differs from run to run. */
  function plain(text: string): string {
    return (
      text
        .replaceAll(filled('{host}'), 'HOST')
        .replace(/\S*\/mb-[a-z]+-[0-9a-f]{8}/g, '/DIRECTORY')
        .replace(/\b(?!a{64})[0-9a-f]{64}\b/g, '…')
        .replace(/\b[0-9a-f]{12}\b/g, '…')
        .replace(/\b(?:amd64|arm64)\b/g, 'ARCH')
        // git's words are those of its version.
        .replace(/fatal: .*/g, 'fatal: …')
    );
  }
});

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, readlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../../src/oci/digest';
import { tarOf } from '../layer/trees';
import { serveImage, startFaultServer, type FaultServer } from '../registry/fault-server';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, namesIn, useTemp, writeFiles } from '../support/temp';

/**
 * Starts a program on a new terminal, closes that when a line comes in, and prints how the program
 * ended.
 */
const ON_A_TERMINAL = `
import os, pty, sys, threading
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
def drain():
    try:
        while os.read(fd, 4096): pass
    except OSError: pass
thread = threading.Thread(target=drain, daemon=True)
thread.start()
sys.stdin.readline()
os.close(os.dup2(os.open('/dev/null', os.O_RDWR), fd))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

/** Seconds that steps sleep: what is in the command lines of this run's processes alone. */
const SLEEP = String(1_000_000 + process.pid);

describeWith('a program that is told to end', { root: true, programs: ['python3'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), {
      // The step and its children do not end by themselves, whatever they are sent.
      Dockerfile: `FROM small-base\nRUN trap '' INT TERM HUP; (trap '' INT TERM HUP; sleep ${SLEEP}; sleep ${SLEEP}) & sleep ${SLEEP}; sleep ${SLEEP}\n`,
      'big.Dockerfile': 'FROM small-base\nRUN dd if=/dev/zero of=/big bs=1M count=20\n',
      'talk.Dockerfile':
        'FROM small-base\nARG AT\nRUN for i in $(seq 2000); do echo line $i; done; echo done > /done\n',
    });
  });

  /** Everything that could be left of it. */
  function left(): string[] {
    const files = ['tmp', 'active', 'leases', 'locks'].flatMap((folder) =>
      namesIn(join(mbuild.root, folder)).map((name) => `${folder}/${name}`),
    );
    return [...files, ...steps(), ...mountsLeft(mbuild.root)];
  }

  const start = (args: readonly string[]): ChildProcess =>
    spawn(MBUILD, args, {
      env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
      stdio: ['pipe', 'pipe', 'pipe'],
    });

  async function exitCode(child: ChildProcess): Promise<number | null> {
    return (
      child.exitCode ??
      new Promise((resolve) => {
        child.once('exit', (code) => resolve(code));
      })
    );
  }

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)(
    'by %s during a step ends with code %d, and takes the step and its children along',
    async (signal, code) => {
      const child = start(['build', context]);
      await until(() => steps().length >= 2);
      child.kill(signal);
      expect({ code: await exitCode(child), left: left() }).toEqual({ code, left: [] });
    },
  );

  it('by a step that fails takes the steps of other stages along, and leaves nothing of them', async () => {
    const gate = '--mount=type=cache,id=gate,target=/gate';
    const failing = writeFiles(temp.dir('failing'), {
      Dockerfile: [
        // Many take a while to end.
        'FROM small-base AS waiting',
        `RUN ${gate} for i in $(seq 500); do sleep ${SLEEP} & done; touch /gate/here; sleep ${SLEEP}`,
        'FROM small-base AS failing',
        `RUN ${gate} while [ ! -e /gate/here ]; do sleep 0.01; done; exit 3`,
        'FROM small-base',
        'COPY --from=waiting /x /',
        'COPY --from=failing /x /',
        '',
      ].join('\n'),
    });
    for (let round = 0; round < 3; round++) {
      const child = start(['build', failing]);
      expect({ code: await exitCode(child), left: left() }).toEqual({ code: 1, left: [] });
      await mbuild.ok(['builder', 'prune', '-af']);
    }
  });

  it('by a terminal that closes ends with code 129, and leaves nothing', async () => {
    const child = spawn('python3', ['-c', ON_A_TERMINAL, MBUILD, 'build', context], {
      env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (data: Buffer) => {
      printed += data.toString();
    });
    await until(() => steps().length >= 2);
    child.stdin.write('\n');
    await exitCode(child);
    expect({ printed, left: left() }).toEqual({ printed: '129\n', left: [] });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'by %s while it reads an archive ends with code %d, and leaves nothing of it',
    async (signal, code) => {
      const child = start(['import', '-', 'half']);
      child.stdin?.on('error', () => undefined); // it is not read to its end
      child.stdin?.write(Buffer.alloc(1 << 20));
      await until(() => namesIn(join(mbuild.root, 'tmp')).length > 0);
      child.kill(signal);
      expect({ code: await exitCode(child), left: left() }).toEqual({ code, left: [] });
    },
  );

  it.each([
    ['COPY', 'SIGINT', 130],
    ['ADD', 'SIGTERM', 143],
  ] as const)(
    '%s of what takes minutes is left by %s at once with code %d, and nothing of it stays',
    async (instruction, signal, code) => {
      const dir = writeFiles(temp.dir('endless'), {
        Dockerfile: `FROM small-base\n${instruction} file /file\n`,
        file: tarOf({ path: 'f', content: '', size: 400 * 2 ** 30 }).subarray(0, 512),
      });
      truncateSync(join(dir, 'file'), 400 * 2 ** 30 + 4096);
      const child = start(['build', '--no-cache', dir]);
      await until(() => openFiles(child.pid).includes(join(dir, 'file')));
      child.kill(signal);
      expect({ code: await exitCode(child), left: left() }).toEqual({ code, left: [] });
    },
  );

  it('while it hashes what would take minutes ends at once, and nothing of that stays', async () => {
    const dir = writeFiles(temp.dir('endless'), {
      Dockerfile: `FROM small-base\nRUN truncate -s ${400 * 2 ** 30} /endless\n`,
    });
    const child = start(['build', '--no-cache', dir]);
    await until(() => openFiles(child.pid).some((file) => file.endsWith('/endless')));
    child.kill('SIGTERM');
    expect({ code: await exitCode(child), left: left() }).toEqual({ code: 143, left: [] });
    expect(
      readdirSync(join(mbuild.root, 'layers')).filter((layer) =>
        namesIn(join(mbuild.root, 'layers', layer)).includes('endless'),
      ),
    ).toEqual([]);
  });

  describe('while a registry keeps it waiting', () => {
    let server: FaultServer;
    let waiting: boolean;

    beforeEach(async () => {
      server = await startFaultServer();
      waiting = false;
      const layer = tarOf({ path: 'f', content: randomBytes(1 << 16).toString('hex') });
      serveImage(server, '1', [{ blob: gzipSync(layer), diffId: digestOf(layer) }]);
      server.fault = ({ url, method }, response) => {
        const isHeld =
          url !== '/v2/' &&
          (method !== 'GET' ||
            (url?.includes('/blobs/') === true && !url.endsWith(configOf(server))));
        waiting ||= isHeld;
        if (isHeld && method === 'GET')
          response.writeHead(200, { 'content-length': 1 << 20 }).write('half of it');
        return isHeld;
      };
      await mbuild.ok(['tag', 'small-base', `${server.host}/me/app`]);
    });

    afterEach(async () => {
      await server.close();
    });

    it.each([
      ['pull', 'SIGINT', 130],
      ['pull', 'SIGTERM', 143],
      ['pull', 'SIGHUP', 129],
      ['push', 'SIGINT', 130],
      ['push', 'SIGTERM', 143],
      ['build', 'SIGINT', 130],
      ['build', 'SIGTERM', 143],
    ] as const)(
      '%s ends by %s with code %d, and leaves at most what the next pull goes on with',
      async (command, signal, code) => {
        const args = {
          pull: ['pull', `${server.host}/app:1`],
          push: ['push', `${server.host}/me/app`],
          build: [
            'build',
            writeFiles(temp.dir('from'), { Dockerfile: `FROM ${server.host}/app:1\n` }),
          ],
        }[command];
        const child = start(args);
        await until(() => waiting);
        child.kill(signal);
        expect({
          code: await exitCode(child),
          left: left().filter((name) => !name.startsWith('tmp/partial-')),
        }).toEqual({ code, left: [] });
        await mbuild.ok(['prune', '-f']);
        expect(left()).toEqual([]);
      },
    );
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('run hands %s on to its container, and ends with its code', async (signal, code) => {
    const child = start([
      'run',
      '--rm',
      '--name',
      `told-${code}`,
      'small-base',
      'sh',
      '-c',
      `trap 'exit ${code}' INT TERM; echo ready; while :; do sleep 0.05; done # ${SLEEP}`,
    ]);
    child.stdout?.once('data', () => child.kill(signal));
    expect({
      code: await exitCode(child),
      steps: steps(),
      containers: await mbuild.ok(['ps', '-aq']),
    }).toEqual({ code, steps: [], containers: '' });
  });

  it.each([
    ['build', '-f', 'big.Dockerfile', '-o', '-', '.'],
    ['save', 'small-base'],
  ])(
    'by a reader of its output that goes away fails, and leaves nothing: mbuild %s',
    async (...args) => {
      const child = spawn(MBUILD, args, {
        cwd: context,
        env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      child.stdout.once('data', () => child.stdout.destroy());
      expect({ code: await exitCode(child), left: left() }).toEqual({ code: 1, left: [] });
    },
  );

  it('builds to the end when only those who read its progress go away', async () => {
    const child = spawn(
      MBUILD,
      [
        'build',
        '--progress=plain',
        '-f',
        'talk.Dockerfile',
        '--build-arg',
        'AT=1',
        '-t',
        'talked',
        '.',
      ],
      {
        cwd: context,
        env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    child.stderr.once('data', () => child.stderr.destroy());
    expect({ code: await exitCode(child), left: left() }).toEqual({ code: 0, left: [] });
    expect(await mbuild.ok(['images', '-q', 'talked'])).toMatch(/^[0-9a-f]{12}$/);
  });
});

function openFiles(pid: number | undefined): string[] {
  const folder = `/proc/${pid}/fd`;
  return namesIn(folder).flatMap((fd) => {
    try {
      return [readlinkSync(join(folder, fd))];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** The digest of the config of the only image that a server has. */
function configOf(server: FaultServer): string {
  return (JSON.parse(String(server.manifests.get('1'))) as { config: { digest: string } }).config
    .digest;
}

/** Processes of the steps. */
function steps(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const words = readText(`/proc/${pid}/cmdline`).split('\0');
      return words.some((word) => word.includes(SLEEP))
        ? [`process ${pid}: ${words.join(' ')}`]
        : [];
    });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // it has ended meanwhile
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

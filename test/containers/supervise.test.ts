import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ContainerRecord } from '../../src/containers/container';
import { createContainer, type CreateRequest } from '../../src/containers/create';
import type { ContainerServices } from '../../src/containers/services';
import { ContainerStore } from '../../src/containers/store';
import { superviseContainer } from '../../src/containers/supervise';
import { MbuildError } from '../../src/diagnostics/error';
import type { ContainerSandbox, ProcessIo, ProcessSpec } from '../../src/sandbox/sandbox';
import { addImage, addLayer, openStore, type TestStore } from '../images/store';

/** A sandbox whose commands are functions of the test. */
function sandboxOf(run: (spec: ProcessSpec, io: ProcessIo) => Promise<number>): ContainerSandbox {
  return {
    run: async (spec, io) => ({ code: await run(spec, io) }),
    enter: () => Promise.reject(new Error('nobody enters')),
  };
}

describe('a container that is supervised', () => {
  let store: TestStore;
  let containers: ContainerStore;
  let record: ContainerRecord;

  beforeEach(() => {
    store = openStore();
    containers = new ContainerStore(store.root);
    record = create();
  });
  afterEach(() => store.dispose());

  function create(request: Partial<CreateRequest> = {}): ContainerRecord {
    const layer = addLayer(store, [], (dir) => writeFileSync(path.join(dir, 'file'), 'x'));
    const image = addImage(store, [layer], [], { Env: ['A=1', 'B=2'], Cmd: ['serve'] });
    return createContainer(
      {
        image,
        imageName: 'app',
        command: [],
        env: ['A=9', 'B'],
        volumes: [],
        labels: {},
        network: 'host',
        ports: [],
        extraHosts: [{ name: 'db', ip: '10.0.0.1' }],
        tmpfs: [],
        capabilities: ['CHOWN'],
        readonlyRoot: false,
        ulimits: [],
        limits: {},
        terminal: false,
        autoRemove: false,
        ...request,
      },
      containers,
      servicesWith(sandboxOf(async () => 0)),
    );
  }

  function servicesWith(sandbox: ContainerSandbox): ContainerServices {
    return { ...store, sandbox };
  }

  const pid = process.pid;
  const supervise = (sandbox: ContainerSandbox) =>
    superviseContainer(record, containers, servicesWith(sandbox));

  test('gives its command what it was made with', async () => {
    let given: ProcessSpec | undefined;
    await supervise(
      sandboxOf(async (spec) => {
        given = spec;
        return 0;
      }),
    );
    expect(given).toMatchObject({
      args: ['serve'],
      cwd: '/',
      capabilities: ['CHOWN'],
      user: { uid: 0, gid: 0 },
      hostname: record.id.slice(0, 12),
    });
    expect(given?.env).toEqual(expect.arrayContaining(['A=9', 'HOME=/']));
    expect(given?.env.filter((entry) => entry.startsWith('B='))).toEqual([]);
    const hosts = given?.mounts.find(({ target }) => target === '/etc/hosts');
    expect(hosts?.kind === 'file' && Buffer.from(hosts.content).toString()).toContain(
      '10.0.0.1\tdb\n',
    );
  });

  test('counts as running from the moment its command may begin, and as exited with its code', async () => {
    let during: string | undefined;
    const status = await supervise(
      sandboxOf(async (_, io) => {
        await io.prepare?.({ pid, resize: () => undefined });
        during = containers.state(record.id)?.status;
        await io.output('stdout', Buffer.from('hello\n'));
        return 3;
      }),
    );
    expect([during, status.code]).toEqual(['running', 3]);
    expect(containers.state(record.id)).toMatchObject({ status: 'exited', exitCode: 3 });
    expect(readFileSync(containers.logFile(record.id), 'utf8')).toContain('hello');
  });

  test.each([
    [new MbuildError('EXEC_NOT_FOUND', 'serve: not found', { exitCode: 127 }), 127],
    [new MbuildError('CONTAINER_CONFLICT', 'port 80 cannot be published'), 125],
    [new Error('the machine burns'), 125],
  ])('whose command cannot be executed stays created: %s', async (problem, exitCode) => {
    await expect(supervise(sandboxOf(() => Promise.reject(problem)))).rejects.toThrow(
      problem.message,
    );
    expect(containers.state(record.id)).toMatchObject({
      status: 'created',
      exitCode,
      error: problem.message,
    });
  });

  test('is refused while it runs already', async () => {
    await supervise(
      sandboxOf(async (_, io) => {
        await io.prepare?.({ pid, resize: () => undefined });
        await expect(supervise(sandboxOf(async () => 0))).rejects.toMatchObject({
          code: 'CONTAINER_CONFLICT',
        });
        return 0;
      }),
    );
  });

  test('that removes itself is gone when it has ended, and when it could not start', async () => {
    for (const ending of [async () => 0, () => Promise.reject(new Error('no'))]) {
      record = create({ autoRemove: true });
      await supervise(sandboxOf(ending)).catch(() => undefined);
      expect(containers.find(record.id)).toBeUndefined();
    }
  });
});

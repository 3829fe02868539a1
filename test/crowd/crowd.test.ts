import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const SOAK = process.env['MBUILD_SOAK'] === '1';
/** Rounds of the crowds; each takes about a second. */
const ROUNDS = SOAK ? 120 : 6;
const PROCESSES = 8;

jest.setTimeout(SOAK ? 3_600_000 : 120_000);

describeWith('many processes on one store', { root: true }, () => {
  const temp = useTemp();

  async function openStore(): Promise<Mbuild> {
    const mbuild = new Mbuild(temp.dir('crowd'));
    await smallBase(mbuild);
    return mbuild;
  }

  /** Every line that a step wrote into the cache mount of its own. */
  async function ran(mbuild: Mbuild, context: string): Promise<string[]> {
    writeFiles(context, {
      'read.Dockerfile':
        'FROM small-base\nARG AT\nRUN --mount=type=cache,id=log,target=/log cat /log/lines > /lines\nFROM scratch\nCOPY --from=0 /lines /\n',
    });
    const out = temp.dir('out');
    await mbuild.ok([
      'build',
      '-q',
      '-f',
      join(context, 'read.Dockerfile'),
      '--build-arg',
      `AT=${Date.now()}`,
      '-o',
      out,
      context,
    ]);
    return readFileSync(join(out, 'lines'), 'utf8').split('\n').filter(Boolean);
  }

  it('run every step once, whichever of them comes first, while others tag, remove and collect', async () => {
    const mbuild = await openStore();
    const context = writeFiles(temp.dir('context'), {
      'same.Dockerfile': step('same') + step('then'),
      ...Object.fromEntries(
        Array.from({ length: PROCESSES }, (_, i) => [
          `${i}.Dockerfile`,
          `${step('same')}${step(`own-${i}`)}`,
        ]),
      ),
    });
    for (let round = 0; round < ROUNDS; round++) {
      const build = (file: string, name: string): Promise<unknown> =>
        mbuild.ok([
          'build',
          '-q',
          '-f',
          join(context, `${file}.Dockerfile`),
          '--build-arg',
          `ROUND=${round}`,
          '-t',
          name,
          context,
        ]);
      await Promise.all([
        ...Array.from({ length: PROCESSES / 2 }, () => build('same', 'same')),
        ...Array.from({ length: PROCESSES / 2 }, (_, i) => build(String(i), `own-${i}`)),
        mbuild.ok(['image', 'prune', '-f']),
        mbuild.ok(['builder', 'prune', '-f', '--filter', 'until=24h']),
        mbuild
          .ok(['tag', 'small-base', `tagged-${round}`])
          .then(() => mbuild.ok(['rmi', `tagged-${round}`])),
      ]);
    }
    const lines = await ran(mbuild, context);
    const wanted = Array.from({ length: ROUNDS }, (_, round) =>
      ['same', 'then', ...Array.from({ length: PROCESSES / 2 }, (_step, i) => `own-${i}`)].map(
        (name) => `${round} ${name}`,
      ),
    ).flat();
    expect(lines.sort()).toEqual(wanted.sort());
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });

  it('run a step once also when its layer is hashed for long', async () => {
    const mbuild = await openStore();
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM small-base\nARG ROUND\nRUN --mount=type=cache,id=log,target=/log echo "$ROUND large" >> /log/lines && dd if=/dev/zero of=/large bs=1M count=256\n`,
    });
    await Promise.all(
      Array.from({ length: PROCESSES }, () =>
        mbuild.ok(['build', '-q', '--build-arg', 'ROUND=0', context]),
      ),
    );
    expect(await ran(mbuild, context)).toEqual(['0 large']);
    expect(readdirSync(join(mbuild.root, 'locks'))).toEqual([]);
  });

  it('never fail and never lose a layer of an image, whatever is pruned and removed meanwhile', async () => {
    const mbuild = await openStore();
    const context = writeFiles(temp.dir('context'), {
      'a.Dockerfile': step('one') + step('two'),
      'b.Dockerfile': step('one') + step('three'),
      'c.Dockerfile': `${step('other')}FROM small-base\nCOPY --from=0 /one /two\nCOPY a.Dockerfile /\n`,
    });
    const failures: string[] = [];
    const run = async (args: readonly string[], mayFail?: RegExp): Promise<void> => {
      const { code, stderr } = await mbuild.run(args);
      if (code !== 0 && mayFail?.test(stderr) !== true)
        failures.push(`${args.join(' ')}: ${code}\n${stderr}`);
    };
    /** Somebody may have removed it a moment ago. */
    const gone = /no such image|no image|IMAGE_NOT_FOUND/;
    const member = async (i: number): Promise<void> => {
      for (let round = 0; round < ROUNDS; round++) {
        const file = ['a', 'b', 'c'][(i + round) % 3] ?? 'a';
        const name = `image-${i % 4}-${round % 2}`;
        await run([
          'build',
          '-q',
          '-f',
          join(context, `${file}.Dockerfile`),
          '--build-arg',
          `ROUND=${round % 3}`,
          '-t',
          name,
          context,
        ]);
        await run(['tag', name, `${name}:again`], gone);
        switch ((i + round) % 6) {
          case 0:
            await run(['builder', 'prune', '-f', '-a', '--filter', 'type=regular']);
            break;
          case 1:
            await run(['rmi', '-f', name], gone);
            break;
          case 2:
            await run(['image', 'prune', '-f']);
            break;
          case 3:
            await run(['prune', '-f']);
            break;
          case 4:
            await run(['save', '-o', join(temp.dir('saved'), 'image.tar'), name], gone);
            break;
          default:
            await run(['images']);
            break;
        }
      }
    };
    await Promise.all(Array.from({ length: PROCESSES }, (_, i) => member(i)));
    expect(failures).toEqual([]);
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    await mbuild.ok(['prune', '-f', '-a']);
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });
});

/** A step that tells of each time that it is run, in a stage of its own when it is the first. */
function step(name: string): string {
  const from = /^(same|one|other)$/.test(name) ? 'FROM small-base\nARG ROUND\n' : '';
  return `${from}RUN --mount=type=cache,id=log,target=/log echo "$ROUND ${name}" >> /log/lines && echo ${name} > /${name === 'other' ? 'one' : name}\n`;
}

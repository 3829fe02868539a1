import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBaseTar } from './support/bases';
import { cleanEnv, command } from './support/command';
import { REPOSITORY } from './support/mbuild';
import { describeWith } from './support/needs';
import { useTemp, writeFiles } from './support/temp';

/** What is added to a copy of the source: one file, and one line in a table. */
interface Addition {
  readonly file: string;
  readonly text: string;
  readonly table: string;
  /** The line of the table that the new one goes behind. */
  readonly behind: string;
  readonly line: string;
  /** What the table imports, where it names the new file by a name. */
  readonly imports?: string;
}

/** docs/architecture.md, "Adding things". */
const ADDITIONS: Readonly<Record<string, Addition>> = {
  isolation: {
    file: 'src/sandbox/isolations/toy.ts',
    text: `import { namespaces } from './namespaces';
import type { Isolation } from './isolation';

export const toy: Isolation<'toy'> = {
  ...namespaces,
  name: 'toy',
  isChosen: undefined,
  examine: async () => ({ works: true, why: 'a toy' }),
};
`,
    table: 'src/sandbox/isolations/isolations.ts',
    behind: 'const TABLE = [',
    line: '  toy,',
    imports: "import { toy } from './toy';",
  },
  snapshotter: {
    file: 'src/snapshot/kinds/toy.ts',
    text: `import { MbuildError } from '../../diagnostics/error';
import type { SnapshotterKind } from './kind';

export const toy: SnapshotterKind<'toy'> = {
  name: 'toy',
  mounts: false,
  open: async ({ root }) => {
    throw new MbuildError('STORE_UNUSABLE', \`a toy keeps no trees in \${root}\`);
  },
};
`,
    table: 'src/snapshot/kinds/kinds.ts',
    behind: 'const TABLE = [',
    line: '  toy,',
    imports: "import { toy } from './toy';",
  },
  rule: {
    file: 'src/lint/rules/toy.ts',
    text: `import type { Rule } from '../rule';

export const toy: Rule = {
  name: 'Toy',
  description: 'Toys are no images',
  file: ({ instructions }, report) => {
    for (const instruction of instructions)
      if (instruction.keyword === 'LABEL') report(instruction, 'a toy was found');
  },
};
`,
    table: 'src/lint/rules.ts',
    behind: 'export const RULES: readonly Rule[] = [',
    line: '  toy,',
    imports: "import { toy } from './rules/toy';",
  },
  command: {
    file: 'src/cli/commands/toy.ts',
    text: `import { defineCommand } from '../command';

export const command = defineCommand({
  name: 'toy',
  summary: 'Say that it is a toy',
  usage: [''],
  positionals: { min: 0, max: 0 },
  flags: {},
  run: async (_, host) => {
    host.out.write('a toy\\n');
    return 0;
  },
});
`,
    table: 'src/cli/commands.ts',
    behind: 'export const COMMANDS: readonly CommandEntry[] = [',
    line: "  entry('toy', async () => (await import('./commands/toy')).command, 'no store'),",
  },
};

describe('one file and one line add', () => {
  const temp = useTemp();
  let copy: string;
  let run: (...args: string[]) => ReturnType<typeof command>;

  beforeAll(() => {
    copy = temp.dir('copy');
    cpSync(join(REPOSITORY, 'src'), join(copy, 'src'), { recursive: true });
    for (const dir of ['dist', 'test/support']) mkdirSync(join(copy, dir), { recursive: true });
    for (const file of ['package.json', 'dist/gzip.wasm', 'test/support/bundle.mjs'])
      copyFileSync(join(REPOSITORY, file), join(copy, file));
    symlinkSync(join(REPOSITORY, 'node_modules'), join(copy, 'node_modules'));
    for (const addition of Object.values(ADDITIONS)) add(addition);
    execFileSync(process.execPath, [join(copy, 'test/support/bundle.mjs')], { stdio: 'pipe' });
    const store = temp.dir('store');
    run = (...args) =>
      command(process.execPath, [join(copy, 'dist/main.cjs'), ...args], {
        env: cleanEnv({ MBUILD_ROOT: store }),
      });
  });

  function add({ file, text, table, behind, line, imports }: Addition): void {
    writeFileSync(join(copy, file), text, { flag: 'wx' });
    const place = join(copy, table);
    const before = readFileSync(place, 'utf8');
    expect(before.split(behind)).toHaveLength(2);
    const after = before.replace(behind, `${behind}\n${line}\n`);
    writeFileSync(place, imports === undefined ? after : `${imports}\n${after}`);
  }

  test('a command, which help lists', async () => {
    expect(await run('toy')).toMatchObject({ code: 0, stdout: 'a toy\n' });
    expect((await run('--help')).stdout).toMatch(/^ +toy +Say that it is a toy$/m);
  });

  test('a lint rule, which a directive can skip', async () => {
    const check = (...lines: string[]): ReturnType<typeof command> =>
      run('build', '--check', writeFiles(temp.dir('context'), { Dockerfile: lines.join('\n') }));
    const stage = ['FROM scratch', 'LABEL a=b', ''];
    expect((await check(...stage)).stdout).toContain('WARNING: Toy');
    expect((await check('# check=skip=Toy', ...stage)).stdout).not.toContain('Toy');
  });

  test('an isolation, which doctor shows and --isolation names', async () => {
    expect((await run('doctor')).stdout).toMatch(/^ +toy +works +a toy$/m);
    expect((await run('build', '--help')).stdout).toMatch(/--isolation KIND .*\btoy\b/);
  });

  test('a snapshotter, which --snapshotter names', async () => {
    const context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\nLABEL a=b\n' });
    const { code, stderr } = await run('--snapshotter', 'toy', 'build', context);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/a toy keeps no trees in .*\n\[STORE_UNUSABLE\]/),
    });
  });

  describeWith('where namespaces can be made', { root: true }, () =>
    test('the new isolation runs a RUN', async () => {
      await run('import', smallBaseTar(temp.dir('base')), 'small-base');
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo by a toy\n',
      });
      const { stderr } = await run('build', '--isolation=toy', '--progress=plain', context);
      expect(stderr).toMatch(/ by a toy$/m);
    }),
  );
});

import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { COMMANDS } from '../../src/cli/commands';
import { command, cleanEnv, succeed } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const temp = useTemp();
let mbuild: Mbuild;
let path: string;
let context: string;
let build: string;

beforeAll(async () => {
  mbuild = new Mbuild(temp.dir('store'));
  context = writeFiles(temp.dir('context'), {
    Dockerfile: 'FROM scratch AS base-stage\nLABEL a=b\nFROM base-stage AS last-stage\n',
  });
  await mbuild.ok(['build', '-q', '-t', 'shown-image:1', context]);
  build = await mbuild.ok(['builds', '-q']);
  path = temp.dir('bin');
  symlinkSync(MBUILD, join(path, 'mbuild'));
});

function env(): Record<string, string> {
  const clean = cleanEnv({ MBUILD_ROOT: mbuild.root });
  return { ...clean, PATH: `${path}:${clean['PATH'] ?? ''}`, HOME: temp.dir('home') };
}

/** What stands on the command line, and something that must be offered for its last word. */
const LINES: readonly (readonly [string, () => string])[] = [
  ['mbuild expl', () => 'explain'],
  ['mbuild system d', () => 'df'],
  ['mbuild build --no-cache-f', () => '--no-cache-filter'],
  ['mbuild build --progress pl', () => 'plain'],
  ['mbuild build --target last', () => 'last-stage'],
  ['mbuild --offline rmi shown', () => 'shown-image:1'],
  ['mbuild explain ', () => build],
];

/** The replies of a real bash to the completion of a line. */
async function inBash(line: string): Promise<string> {
  const script = `source <(mbuild completion bash)
    COMP_LINE="$1"; COMP_POINT=\${#1}; _mbuild; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const replies = await succeed('bash', ['-c', script, 'bash', line], { env: env(), cwd: context });
  // A colon ends a word of bash: the reply is what comes behind it.
  return replies;
}

describeWith('completion in bash', { programs: ['bash'] }, () => {
  test.each(LINES)('%s', async (line, wanted) => {
    expect((await inBash(line)).split('\n')).toContain(wanted());
  });

  test('what stands before a colon is not said twice', async () => {
    expect(await inBash('mbuild rmi shown-image:')).toBe('1\n');
  });
});

describeWith('completion in fish', { programs: ['fish'] }, () => {
  test.each(LINES)('%s', async (line, wanted) => {
    const script = `mbuild completion fish | source; complete -C '${line}'`;
    const replies = await succeed('fish', ['--no-config', '-c', script], {
      env: env(),
      cwd: context,
    });
    expect(replies.split('\n').map((reply) => reply.split('\t')[0])).toContain(wanted());
  });
});

describeWith('completion in zsh', { programs: ['zsh'] }, () => {
  // A terminal of zsh's own: the line is typed, then a tab, then the line is printed.
  test.each(LINES)('%s', async (line, wanted) => {
    const script = `zmodload zsh/zpty
      zpty -b z 'TERM=dumb PS1= zsh -f -i'
      zpty -w z 'autoload -U compinit; compinit -u; source <(mbuild completion zsh); show() { BUFFER="print -r -- \\"<$BUFFER>\\""; zle accept-line }; zle -N show; bindkey ^X show; LISTMAX=1000'
      sleep 2; while zpty -rt z text; do :; done
      zpty -w -n z "$1"$'\\t'; sleep 2; zpty -w -n z $'\\x18'; sleep 1
      while zpty -rt z text; do print -r -- "$text"; done`;
    const { stdout } = await command('zsh', ['-f', '-c', script, 'zsh', line], {
      env: env(),
      cwd: context,
    });
    expect(stdout.replace(/\\:/g, ':')).toContain(wanted());
  });
});

describe('the manual', () => {
  test('has a page for each command, with each of its flags', async () => {
    const share = temp.dir('share');
    await mbuild.ok(['__share', share]);
    for (const { name, load } of COMMANDS) {
      const shown = await load();
      if (shown.hidden === true) continue;
      const page = readFileSync(
        join(share, 'man/man1', `mbuild-${name.replace(/ /g, '-')}.1`),
        'utf8',
      ).replaceAll('\\-', '-');
      for (const [flag, { hidden, unsupported }] of Object.entries(shown.flags))
        if (hidden !== true && unsupported === undefined) expect(page).toContain(`--${flag}`);
    }
    expect(readFileSync(join(share, 'bash-completion/completions/mbuild'), 'utf8')).toBe(
      `${await mbuild.ok(['completion', 'bash'])}\n`,
    );
  });
});

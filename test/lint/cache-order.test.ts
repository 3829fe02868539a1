import { parseDockerfile } from '../../src/dockerfile/parse';
import { lintDockerfile, type LintOptions } from '../../src/lint/lint';

const PLATFORM = { os: 'linux', architecture: 'amd64' };

function findings(text: string, options: Partial<LintOptions> = {}): string[] {
  const dockerfile = parseDockerfile({ name: 'Dockerfile', text });
  return lintDockerfile(dockerfile, {
    buildArgs: {},
    platform: PLATFORM,
    buildPlatform: PLATFORM,
    ...options,
  }).map(({ code, range, message }) => `${range?.start.line ?? 0} ${code}: ${message}`);
}

/** Rules about the order of instructions, asked for. */
const ALL = '# check=experimental=CopyBeforeInstall,ArgAboveUse,AptUpdateAlone\n';

describe('rules about the cache', () => {
  it('are off unless they are asked for', () => {
    const text = 'FROM node\nWORKDIR /app\nCOPY . .\nRUN npm ci\nRUN apt-get update\n';
    expect(findings(text)).toEqual([]);
    expect(findings(ALL + text)).toHaveLength(2);
  });

  it('find a COPY of everything above an install that reads manifests alone', () => {
    const text = `${ALL}FROM node\nWORKDIR /app\nCOPY . .\nRUN npm ci\n`;
    expect(findings(text)).toEqual([
      '4 CopyBeforeInstall: npm ci (line 5) reads package.json, package-lock.json and similar files only, but runs again when any file changes: copy these first, and the rest after it',
    ]);
    expect(findings(text, { recordedSeconds: () => 12.34 })[0]).toMatch(
      /\(it took 12\.3s when it ran last\)$/,
    );
  });

  it.each([
    ['a script of the project runs', '{"scripts": {"postinstall": "node x.js"}}'],
    ['a package is a directory', '{"dependencies": {"a": "file:../a"}}'],
    ['there are workspaces', '{"workspaces": ["a"]}'],
  ])('say nothing where %s', (_, manifest) => {
    const text = `${ALL}FROM node\nWORKDIR /app\nCOPY . .\nRUN npm ci\n`;
    const readFile = (name: string): string | undefined =>
      name === 'package.json' ? manifest : undefined;
    expect(findings(text, { readFile })).toEqual([]);
  });

  it.each([
    ['the manifests are copied first', 'COPY package.json .\nRUN npm ci\nCOPY . .\n'],
    ['the RUN does something else, too', 'COPY . .\nRUN npm ci && npm run build\n'],
    ['it installs elsewhere', 'COPY . .\nWORKDIR /other\nRUN npm ci\n'],
  ])('say nothing where %s', (_, text) => {
    expect(findings(`${ALL}FROM node\nWORKDIR /app\n${text}`)).toEqual([]);
  });

  it('find an ARG that changes above steps that do not use it', () => {
    const text = `${ALL}FROM node\nARG GIT_COMMIT\nRUN make\nRUN make test\nLABEL v=$GIT_COMMIT\n`;
    expect(findings(text)).toEqual([
      '3 ArgAboveUse: ARG GIT_COMMIT is part of the cache key of 2 RUNs below that do not use it: declare it after line 5',
    ]);
    expect(findings(`${ALL}FROM node\nARG PORT=80\nRUN make\n`)).toEqual([]);
    expect(
      findings(`${ALL}FROM node\nARG PORT=80\nRUN make\n`, { buildArgs: { PORT: '81' } }),
    ).toHaveLength(1);
  });

  it('find an apt-get update apart from its install', () => {
    const text = `${ALL}FROM debian\nRUN apt-get update\nRUN apt-get install -y curl\n`;
    expect(findings(text)).toEqual([expect.stringMatching(/^3 AptUpdateAlone: /)]);
    expect(findings(`${ALL}FROM debian\nRUN apt-get update && apt-get install -y a\n`)).toEqual([]);
  });
});

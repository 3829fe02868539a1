import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errnoOf, isMbuildError } from '../../diagnostics/error';
import { removeTree } from '../../linux/remove-tree';
import { defineCommand } from '../command';
import { note, type Host } from '../host';
import { buildCallOf, credentials, insecureWords, warmStore } from '../kaniko/executor';
import { EXECUTOR_FLAGS, WARMER_FLAGS } from '../kaniko/flags';
import { withRegistries } from '../kaniko/registries';
import { readCommandLine } from '../read-command-line';
import { usage } from '../usage';

const ABOUT =
  'Called as executor or warmer (a link of that name), mbuild is kaniko. docs/ci.md has what each flag does.';

export const executor = defineCommand({
  name: 'kaniko',
  summary: "Build an image by kaniko's command line",
  usage: ['[OPTIONS]', 'version'],
  positionals: { min: 0, max: 1 },
  flags: EXECUTOR_FLAGS,
  notes: [ABOUT],
  run: async ({ flags, positionals: [word] }, host) => {
    if (word === 'version') return showVersion(host);
    // Go's flags take no value behind a space: `--cache true` is `--cache` and a word.
    if (word !== undefined && word !== 'true')
      throw usage(`kaniko's command line has no argument ${JSON.stringify(word)}`);
    const { command: build } = await import('./build');
    const call = buildCallOf(flags, host.env);
    for (const text of call.notes) note(host, text);
    const environment = { ...host.env, ...call.env };
    return withRegistries(flags, { ...host, env: environment }, (own) =>
      withGitHeader(call.gitHeader, async (words) => {
        try {
          const argv = [...words, ...call.argv];
          return await build.run(readCommandLine(build, argv, environment), own);
        } catch (error) {
          if (!flags['push-ignore-immutable-tag-errors'] || !isImmutableTag(error)) throw error;
          note(host, 'the tag is there already and may not be moved');
          return 0;
        }
      }),
    );
  },
});

export const warmer = defineCommand({
  name: 'kaniko warmer',
  summary: "Fetch base images for later builds by the command line of kaniko's warmer",
  usage: ['--image NAME [--image NAME...] [--cache-dir DIR]'],
  positionals: { min: 0, max: 0 },
  flags: WARMER_FLAGS,
  notes: [ABOUT],
  run: async ({ flags }, host) => {
    const images = [...flags.image, ...basesOf(flags.dockerfile, flags['build-arg'], host)];
    if (images.length === 0) throw usage('there is no image to fetch', 'name one with --image');
    const { command: pull } = await import('./pull');
    const env = { ...host.env, ...credentials({}, host.env) };
    const words = [
      `--root=${flags.root ?? warmStore(flags['cache-dir'])}`,
      ...insecureWords(flags),
      ...(flags['custom-platform'] === undefined ? [] : [`--platform=${flags['custom-platform']}`]),
    ];
    return withRegistries(flags, { ...host, env }, async (own) => {
      for (const image of new Set(images)) {
        const code = await pull.run(readCommandLine(pull, [...words, '--', image], env), own);
        if (code !== 0) return code;
      }
      return 0;
    });
  },
});

/** Lets a build have the header as a secret, in a file that goes with it. */
async function withGitHeader<T>(
  header: string | undefined,
  work: (words: readonly string[]) => Promise<T>,
): Promise<T> {
  if (header === undefined) return work([]);
  const folder = mkdtempSync(path.join(tmpdir(), 'mbuild-git-'));
  const file = path.join(folder, 'header');
  try {
    writeFileSync(file, header, { mode: 0o600 });
    return await work([`--secret=id=GIT_AUTH_HEADER,src=${file}`]);
  } finally {
    removeTree(folder);
  }
}

async function showVersion(host: Host): Promise<number> {
  const { command: version } = await import('./version');
  return version.run(readCommandLine(version, [], host.env), host);
}

/** What registries say of a tag that may not be moved: ECR, Harbor, Docker Hub, Artifact Registry. */
function isImmutableTag(error: unknown): boolean {
  return isMbuildError(error) && /immutab/i.test(`${error.message} ${error.hint ?? ''}`);
}

/** Images of FROM lines, with the arguments before them put in. */
function basesOf(file: string | undefined, given: readonly string[], host: Host): string[] {
  if (file === undefined) return [];
  const text = readDockerfile(file);
  const args = new Map<string, string>();
  for (const [, name = '', value] of text.matchAll(/^\s*ARG\s+(\w+)(?:=(\S+))?/gim))
    if (!args.has(name)) args.set(name, value?.replace(/^(["'])(.*)\1$/, '$2') ?? '');
  for (const pair of given) {
    const [name = '', value = host.env[name] ?? ''] = pair.split(/=(.*)/s);
    args.set(name, value);
  }
  const stages = new Set<string>(['scratch']);
  return [...text.matchAll(/^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?/gim)].flatMap(
    ([, image = '', stage]) => {
      const name = image.replace(/\$\{?(\w+)\}?/g, (_, key: string) => args.get(key) ?? '');
      const isStage = stages.has(name.toLowerCase());
      if (stage !== undefined) stages.add(stage.toLowerCase());
      return isStage || name === '' ? [] : [name];
    },
  );
}

function readDockerfile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw usage(`cannot read the Dockerfile ${file} (${errnoOf(error) ?? 'error'})`);
  }
}

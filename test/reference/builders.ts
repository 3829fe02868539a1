import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { ReferenceCase, ReferenceImage } from './cases';
import type { Outcome } from './compare';
import { readLayout } from './layout';
import { pushRawImage } from './raw-image';

/** Where and with what the cases are built. */
export interface Setting {
  /** A shell command that is docker's command line, e.g. `docker -H unix:///run/docker.sock`. */
  readonly reference: string;
  /**
   * The base image, in a registry that both builders reach, and that images of cases are pushed to.
   */
  readonly base: string;
  /** A folder that both see under the same path. */
  readonly work: string;
  readonly mbuild: string;
  /** Whether what the reference made of a case is kept for the next run. */
  readonly remember: boolean;
}

/** A case whose context lies on disk. */
export interface PreparedCase {
  readonly context: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Hash of all that makes the case. */
  readonly hash: string;
}

/**
 * Raised when contexts are prepared in another way, which makes what the reference built before
 * worthless.
 */
const PREPARATION = 3;

/** The reference of an image that cases start from: beside the base. */
export function imageReference(name: string, setting: Setting): string {
  return `${setting.base.slice(0, setting.base.lastIndexOf('/'))}/mbuild-reference/${name}:latest`;
}

/** Writes the context of a case. */
export async function prepare(item: ReferenceCase, setting: Setting): Promise<PreparedCase> {
  const context = path.join(
    setting.work,
    'contexts',
    createHash('sha256').update(item.id).digest('hex').slice(0, 12),
  );
  const fill = (text: string): string => filled(text, setting).replaceAll('@context@', context);
  const hash = createHash('sha256')
    .update(
      JSON.stringify([
        PREPARATION,
        item.id,
        item.dockerfile,
        item.setup,
        [...item.files],
        item.args,
        item.env,
        setting.base,
      ]),
    )
    .digest('hex');
  rmSync(context, { recursive: true, force: true });
  mkdirSync(context, { recursive: true });
  for (const [name, content] of item.files) {
    mkdirSync(path.dirname(path.join(context, name)), { recursive: true });
    writeFileSync(path.join(context, name), fill(content));
  }
  if (item.dockerfile !== '')
    writeFileSync(path.join(context, 'Dockerfile'), fill(item.dockerfile));
  const { code, output } = await command(['sh', '-ec', `umask 022\n${fill(item.setup)}`], {
    cwd: context,
    env: { TAR_OPTIONS: '--mtime=@1000000000 --sort=name' },
  });
  if (code !== 0) throw new Error(`the setup of "${item.id}" failed: ${output}`);
  setTimes(Buffer.from(context), '');
  const env = Object.fromEntries(
    item.env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  return { context, args: buildArgs(item.args.map(fill), context), env, hash };
}

function filled(text: string, setting: Setting): string {
  return text
    .replaceAll('@base@', setting.base)
    .replace(/@([a-z][a-z0-9-]*)@/g, (all, name: string) =>
      name === 'context' ? all : imageReference(name, setting),
    );
}

/** RUN has no network unless a case asks for one: quicker for the reference. */
function buildArgs(args: readonly string[], context: string): string[] {
  const has = (flag: string): boolean =>
    args.some((arg) => arg === flag || arg.startsWith(`${flag}=`));
  return [
    ...(has('--network') ? [] : ['--network=none']),
    ...(has('-f') || has('--file') ? [] : [`--file=${context}/Dockerfile`]),
    ...args,
  ];
}

/**
 * Times follow from name and content: BuildKit takes a file of the same path, size and time as the
 * same, also of another context, and both builders take an earlier copy of the same content with
 * its times.
 */
function setTimes(file: Buffer, path: string): void {
  const stats = lstatSync(file);
  const names = stats.isDirectory() ? readdirSync(file, 'buffer') : [];
  for (const name of names)
    setTimes(Buffer.concat([file, Buffer.from('/'), name]), `${path}/${name.toString('latin1')}`);
  const content = stats.isFile() ? readFileSync(file) : Buffer.concat(names);
  const time =
    1_000_000_000 +
    (createHash('sha256').update(path).update(content).digest().readUInt32BE() % 100_000_000);
  lutimesSync(file, time, time);
}

/** Builds with BuildKit, or tells what it made of this very case before. */
export async function buildByReference(item: PreparedCase, setting: Setting): Promise<Outcome> {
  const memory = path.join(setting.work, 'remembered', `${item.hash}.json`);
  if (setting.remember && existsSync(memory))
    return JSON.parse(readFileSync(memory, 'utf8')) as Outcome;
  const archive = path.join(setting.work, `${item.hash}.reference.tar`);
  // What it has cached may have the times of another context.
  const uncached = item.args.some((arg) => arg.startsWith('--no-cache')) ? [] : ['--no-cache'];
  const outcome = await built(
    archive,
    [
      'sh',
      '-c',
      `exec ${setting.reference} build "$@"`,
      '--',
      '--provenance=false',
      '--output=type=oci,dest=-',
      ...uncached,
      ...item.args,
      item.context,
    ],
    {
      env: { ...item.env, BUILDX_NO_DEFAULT_ATTESTATIONS: '1', DOCKER_BUILDKIT: '1' },
      stdout: archive,
    },
  );
  mkdirSync(path.dirname(memory), { recursive: true });
  writeFileSync(memory, JSON.stringify(outcome));
  return outcome;
}

/** Builds with mbuild, in the store of this run. */
export async function buildByMbuild(item: PreparedCase, setting: Setting): Promise<Outcome> {
  const archive = path.join(setting.work, `${item.hash}.mbuild.tar`);
  return built(
    archive,
    [
      setting.mbuild,
      'build',
      '--progress=plain',
      `--output=type=oci,dest=${archive}`,
      ...item.args,
      item.context,
    ],
    {
      env: { ...item.env, MBUILD_ROOT: path.join(setting.work, 'store') },
    },
  );
}

async function built(
  archive: string,
  argv: readonly string[],
  options: CommandOptions,
): Promise<Outcome> {
  try {
    const { code, output } = await command(argv, options);
    return code === 0
      ? { kind: 'built', image: await readLayout(archive) }
      : { kind: 'refused', message: output };
  } finally {
    rmSync(archive, { force: true });
  }
}

/** Builds an image that cases start from, and pushes it. */
export async function pushImage(image: ReferenceImage, setting: Setting): Promise<void> {
  const reference = imageReference(image.name, setting);
  const mark = path.join(
    setting.work,
    'remembered',
    createHash('sha256')
      .update(JSON.stringify([image, setting.base]))
      .digest('hex'),
  );
  if (setting.remember && existsSync(mark)) return;
  mkdirSync(path.dirname(mark), { recursive: true });
  if (image.config !== undefined) {
    await pushRawImage(image, setting.base, reference);
    writeFileSync(mark, '');
    return;
  }
  const context = path.join(setting.work, 'contexts', `image-${image.name}`);
  rmSync(context, { recursive: true, force: true });
  mkdirSync(context, { recursive: true });
  writeFileSync(path.join(context, 'Dockerfile'), filled(image.dockerfile, setting));
  const push = [
    'sh',
    '-ec',
    `${setting.reference} build -q --network=none --provenance=false -t "$@" && ${setting.reference} push -q "$1"`,
    '--',
    reference,
    ...image.args,
    context,
  ];
  const { code, output } = await command(push, {
    env: { BUILDX_NO_DEFAULT_ATTESTATIONS: '1', DOCKER_BUILDKIT: '1' },
  });
  if (code !== 0) throw new Error(`the image ${image.name} cannot be made: ${output}`);
  writeFileSync(mark, '');
}

interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** A file for standard output; without one it is returned with standard error. */
  readonly stdout?: string;
}

/** Milliseconds after which a build is stuck. */
const PATIENCE = 120_000;

function command(
  argv: readonly string[],
  options: CommandOptions,
): Promise<{ code: number | null; output: string }> {
  const stdout = options.stdout === undefined ? undefined : openSync(options.stdout, 'w');
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
    timeout: PATIENCE,
  });
  let output = '';
  child.stdout?.on('data', (data: Buffer) => {
    output += data.toString();
  });
  child.stderr?.on('data', (data: Buffer) => {
    output += data.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (stdout !== undefined) closeSync(stdout);
      resolve({ code, output });
    });
  });
}

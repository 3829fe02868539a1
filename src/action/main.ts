import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMbuildError } from '../diagnostics/error';
import { visible } from '../diagnostics/visible';
import { removeTree } from '../linux/remove-tree';
import { githubAnnotations, maskOrder } from '../progress/github';
import { readCall, type ActionCall } from './inputs';

/** Signals by which the runner cancels a step; the build is given them. */
const HANDED_ON = ['SIGINT', 'SIGTERM'] as const;
/** Shorter lines are not hidden: they would be found everywhere. */
const MIN_MASKED = 4;

void main();

/**
 * The GitHub action: runs the mbuild that stands beside it, with the Node.js that runs this, and hands its results to the runner.
 * Log, annotations and the job's summary are mbuild's own.
 */
async function main(): Promise<void> {
  const directory = mkdtempSync(join(process.env['RUNNER_TEMP'] ?? tmpdir(), 'mbuild-action-'));
  try {
    const call = readCall(process.env);
    for (const line of call.secrets.flatMap((secret) => secret.split(/\r?\n/)))
      if (line.length >= MIN_MASKED) process.stdout.write(maskOrder(line));
    const files = { iid: join(directory, 'iid'), metadata: join(directory, 'metadata.json') };
    process.exitCode = await runBuild(call, files);
    if (process.exitCode === 0) writeOutputs(files);
  } catch (error) {
    process.exitCode = 1;
    process.stdout.write(githubAnnotations([annotationOf(error)]));
  } finally {
    removeTree(directory);
  }
}

/** Where the build writes what came of it. */
interface ResultFiles {
  readonly iid: string;
  readonly metadata: string;
}

function runBuild({ argv, env }: ActionCall, files: ResultFiles): Promise<number> {
  const program = join(__dirname, '../bin/start.cjs');
  const build = spawn(
    process.execPath,
    [program, 'build', `--iidfile=${files.iid}`, `--metadata-file=${files.metadata}`, ...argv],
    { stdio: ['ignore', 'inherit', 'inherit'], env: buildEnvironment(env) },
  );
  for (const signal of HANDED_ON) process.on(signal, () => build.kill(signal));
  return new Promise((resolve, reject) => {
    build.on('error', reject);
    build.on('close', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

/** The runner's environment without the inputs, which hold secrets, and with their values by name. */
function buildEnvironment(secrets: ActionCall['env']): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('INPUT_'));
  return { ...Object.fromEntries(own), ...secrets };
}

/** The outputs of docker/build-push-action. */
function writeOutputs(files: ResultFiles): void {
  const metadata = readIfThere(files.metadata);
  const digest: unknown =
    metadata === ''
      ? ''
      : (JSON.parse(metadata) as Record<string, unknown>)['containerimage.digest'];
  const outputs = {
    imageid: readIfThere(files.iid),
    digest: typeof digest === 'string' ? digest : '',
    metadata: metadata.trim(),
  };
  const file = process.env['GITHUB_OUTPUT'];
  if (file === undefined || file === '') return;
  for (const [name, text] of Object.entries(outputs)) {
    // Docs, "Workflow commands", "Multiline strings": nobody may guess where the value ends.
    const end = `mbuild_${randomUUID()}`;
    appendFileSync(file, `${name}<<${end}\n${text}\n${end}\n`);
  }
}

function readIfThere(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

function annotationOf(error: unknown): Parameters<typeof githubAnnotations>[0][number] {
  if (!isMbuildError(error))
    return { severity: 'error', title: 'INTERNAL', message: visible(String(error)) };
  const hint = error.hint === undefined ? '' : `\n${error.hint}`;
  return { severity: 'error', title: error.code, message: `${error.message}${hint}` };
}

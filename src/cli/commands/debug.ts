import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { visible } from '../../diagnostics/visible';
import { findStep, type FoundStep } from '../../debug/places';
import { openStep, type Given, type OpenStep } from '../../debug/open-step';
import { commandText, shellIn } from '../../debug/shell';
import type { Engine } from '../../engine';
import type { BuildRecord, StepRecord } from '../../history/build-record';
import { BuildHistory } from '../../history/file-history';
import { BuildSecrets } from '../../pipeline/secrets';
import { openSshAgents } from '../../pipeline/ssh-agents';
import type { ProcessSpec } from '../../sandbox/sandbox';
import type { FlagTable, FlagValues } from '../args';
import { withTerminal } from '../attach';
import { defineCommand } from '../command';
import { stepsOf } from '../format/builds';
import { note, type Host } from '../host';
import { readSecret, readSsh } from '../secret-options';
import { findImage, withServices } from '../services';
import { orFailure } from './run';

const FLAGS = {
  before: { kind: 'boolean', help: 'The tree as the step found it, not as it left it' },
  tools: {
    kind: 'string',
    value: 'IMAGE',
    help: "Take the shell and its programs from an image, such as busybox; without it the image's own, else this machine's static busybox",
  },
  secret: {
    kind: 'list',
    value: 'SECRET',
    help: 'A secret of the step, which is not kept: id=NAME[,src=FILE|,env=VARIABLE]',
  },
  ssh: { kind: 'list', value: 'AGENT', help: 'An SSH agent of the step: default|ID[=SOCKET]' },
} as const satisfies FlagTable;

export const command = defineCommand({
  name: 'debug',
  summary: 'Open a shell in a step of a build, also in one that failed',
  usage: ['[OPTIONS] [BUILD] [STEP] [COMMAND...]'],
  positionals: { min: 0, max: Infinity },
  stopAtPositional: true,
  flags: FLAGS,
  notes: [
    'BUILD and STEP are as in mbuild explain; without STEP the step that failed, else the last one.',
    'The shell has the environment, user, directory, mounts, network and limits of the step. What it changes is gone when it ends.',
    'Failed steps are kept for a day, within the size of --keep-failed of the build.',
    'With a COMMAND that is run instead of a shell. Without a terminal the shell reads standard input.',
  ],
  run: ({ flags, positionals }, host) =>
    orFailure(host, () =>
      withServices(host, flags, async (engine) => {
        const { build, step, rest } = askedStep(new BuildHistory(engine.root), positionals);
        const found = findStep({ build, step, before: flags.before }, engine);
        const agents = await openSshAgents(
          flags.ssh.map((text) => readSsh(text, host.env)),
          engine.root,
        );
        try {
          const given: Given = {
            secrets: new BuildSecrets(flags.secret.map((text) => readSecret(text, host.env)))
              .readers,
            ssh: agents.sockets,
            proxies: {},
          };
          return await stand({ engine, found, step, before: flags.before, rest }, given, {
            flags,
            host,
          });
        } finally {
          agents.close();
        }
      }),
    ),
});

/** The step that a command line names, and the words behind. */
export function askedStep(
  history: BuildHistory,
  [first, ...others]: readonly string[],
): { readonly build: BuildRecord; readonly step: StepRecord; readonly rest: readonly string[] } {
  const named = first === undefined || first.startsWith(':') ? undefined : history.search(first);
  const isStep =
    first !== undefined &&
    named === undefined &&
    (first.startsWith(':') || /^\d{1,3}$/.test(first));
  const build = named ?? history.find(isStep ? undefined : first);
  const [word, ...rest] = isStep ? [first, ...others] : others;
  return { build, step: chooseStep(build, word), rest };
}

function chooseStep(build: BuildRecord, word: string | undefined): StepRecord {
  const steps = stepsOf(build, word);
  const step = steps.find(({ failed }) => failed === true) ?? steps.at(-1);
  if (step === undefined)
    throw new MbuildError('BUILD_NOT_FOUND', `build ${build.id} came to no step`, {
      hint: build.error === undefined ? undefined : `it ended with: ${build.error.message}`,
    });
  if (word !== undefined && steps.length > 1 && step.failed !== true)
    throw new MbuildError('USAGE', `${word} names several steps`, {
      hint: `they are ${steps.map(({ name }) => name).join(', ')}`,
    });
  return step;
}

/** Where somebody is to stand. */
interface Standing {
  readonly engine: Engine;
  readonly found: FoundStep;
  readonly step: StepRecord;
  readonly before: boolean;
  /** A command instead of a shell. */
  readonly rest: readonly string[];
}

/** Who stands there. */
interface Visitor {
  readonly flags: Pick<FlagValues<typeof FLAGS>, 'tools'>;
  readonly host: Host;
}

async function stand(standing: Standing, given: Given, visitor: Visitor): Promise<number> {
  const { engine, found, rest } = standing;
  const { host } = visitor;
  const scope = { signal: host.signal, events: () => undefined };
  const open = await openStep(found, { engine, given, scope });
  try {
    for (const text of [...found.notes, ...open.missing.map((what) => `${what} is not given`)])
      note(host, text);
    if (rest.length > 0)
      return await runIn(engine, { ...open.spec, args: rest, timeout: undefined }, host);
    return await shellInStep(standing, open, visitor);
  } finally {
    await open.close();
  }
}

async function shellInStep(
  { engine, found, step, before }: Standing,
  open: OpenStep,
  { flags, host }: Visitor,
): Promise<number> {
  const shell = shellIn({
    spec: open.spec,
    view: engine.snapshots.view([...open.active.parent]),
    snapshots: engine.snapshots,
    failed: found.command,
    tools: flags.tools === undefined ? undefined : findImage(engine, flags.tools).stack,
  });
  try {
    if (host.err.isTTY) host.err.write(heading({ step, before, found }, shell.title));
    return await runIn(engine, shell.spec, host);
  } finally {
    shell.close();
  }
}

function heading(
  { step, before, found }: Pick<Standing, 'step' | 'before' | 'found'>,
  shell: string,
): string {
  const { user, cwd, network } = found.run;
  const when = step.failed === true ? 'as the failed command left it' : 'after it';
  return [
    `${step.name} (line ${step.line}), ${before ? 'before it' : when}`,
    `${user === '' ? 'root' : user} in ${cwd}, network ${network}, shell ${shell}`,
    ...(found.command === undefined ? [] : [`its command: ${commandText(found.command)}`]),
    '',
  ]
    .map(visible)
    .join('\n');
}

/** Runs a process with this process's streams, on a terminal where there is one. */
export async function runIn(engine: Engine, spec: ProcessSpec, host: Host): Promise<number> {
  const scope = { signal: host.signal, events: () => undefined };
  const onTerminal = (terminal: boolean): Promise<number> =>
    withTerminal(terminal, true, host, async (io, prepare) => {
      const { code } = await engine.sandbox.run(spec, { ...io, prepare }, scope);
      return code;
    });
  if (!(host.stdin().isTTY && host.out.isTTY)) return onTerminal(false);
  try {
    return await onTerminal(true);
  } catch (error) {
    if (!isMbuildError(error, 'UNSUPPORTED')) throw error;
    note(host, `${error.message}: lines are read as they are, and there is no job control`);
    return onTerminal(false);
  }
}

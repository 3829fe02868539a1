import type { SourceRange } from '../diagnostics/range';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import { readMounts, type MountOptions } from '../dockerfile/mount';
import { descriptionLines } from './comments';
import { stagesToCheck, subjectOf } from './lint';
import type { Subject } from './rule';
import type { LintOptions } from './options';
import { StageScope } from './scope';

/** What a build of a target can be given: `--call outline`. */
export interface Outline {
  /** The target's name. */
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly args: readonly OutlineArg[];
  readonly secrets: readonly OutlineMount[];
  readonly ssh: readonly OutlineMount[];
}

export interface OutlineArg {
  readonly name: string;
  readonly description?: string | undefined;
  /** With the build arguments that were given. */
  readonly value?: string | undefined;
  readonly range: SourceRange;
}

/** A secret or an SSH agent that a RUN asks for. */
export interface OutlineMount {
  readonly name: string;
  readonly required: boolean;
  readonly range: SourceRange;
}

/** One stage of `--call targets`. */
export interface Target {
  readonly name?: string | undefined;
  readonly isDefault: boolean;
  readonly description?: string | undefined;
  /** As written behind FROM. */
  readonly base: string;
  readonly range: SourceRange;
}

/**
 * The arguments, secrets and agents of the stages that the target needs; a comment `# NAME text`
 * above ARG or FROM describes it.
 */
export function outline(dockerfile: Dockerfile, options: LintOptions): Outline {
  const subject = subjectOf(dockerfile, options);
  const stages = stagesToCheck(subject);
  const target = targetOf(stages, options.target);
  const collected = collect(stages, subject);
  return {
    name: target?.name,
    description:
      target === undefined ? undefined : description(target.name ?? '', target.from, subject),
    args: [...usedGlobals(stages, subject), ...collected.args],
    secrets: collected.secrets,
    ssh: collected.ssh,
  };
}

/** Every stage. */
export function targets(dockerfile: Dockerfile, options: LintOptions): Target[] {
  const subject = subjectOf(dockerfile, options);
  return dockerfile.stages.map(({ name, from, index }) => ({
    name,
    isDefault: index === dockerfile.stages.length - 1,
    description: name === undefined ? undefined : description(name, from, subject),
    base: from.image,
    range: from.range,
  }));
}

function targetOf(stages: readonly Stage[], wanted: string | undefined): Stage | undefined {
  return (
    stages.find(({ name }) => wanted !== undefined && name === wanted.toLowerCase()) ??
    stages.at(-1)
  );
}

function description(
  name: string,
  instruction: Instruction,
  { commentsOf }: Subject,
): string | undefined {
  if (name === '') return undefined;
  return descriptionLines(commentsOf(instruction))
    .find((comment) => comment.startsWith(`${name} `))
    ?.slice(name.length + 1)
    .trim();
}

/** The ARGs before the first FROM that a FROM uses or a stage takes over. */
function usedGlobals(stages: readonly Stage[], subject: Subject): OutlineArg[] {
  const taken = new Set(
    stages.flatMap(({ instructions }) =>
      instructions.flatMap((instruction) =>
        instruction.keyword === 'ARG'
          ? instruction.args.flatMap(({ name, value }) => (value === undefined ? name : []))
          : [],
      ),
    ),
  );
  const froms = stages
    .map(({ from }) => [from.image, ...from.flags.map(({ value }) => value ?? '')].join(' '))
    .join(' ');
  return subject.dockerfile.globalArgs.flatMap((instruction) =>
    instruction.args.flatMap(({ name }) => {
      if (
        !taken.has(name) &&
        !new RegExp(`\\$\\{?${name.replace(/\W/g, '\\$&')}(?!\\w)`).test(froms)
      )
        return [];
      return {
        name,
        description: description(name, instruction, subject),
        value: subject.globals.value(name),
        range: instruction.range,
      };
    }),
  );
}

function collect(
  stages: readonly Stage[],
  subject: Subject,
): { args: OutlineArg[]; secrets: OutlineMount[]; ssh: OutlineMount[] } {
  const sources = {
    escape: subject.dockerfile.directives.escape,
    globals: subject.globals,
    buildArgs: subject.options.buildArgs,
  };
  const global = new Set(
    subject.dockerfile.globalArgs.flatMap(({ args }) => args.map(({ name }) => name)),
  );
  const scopes = new Map<Stage, StageScope>();
  const args = new Map<string, OutlineArg>();
  const mounts = { secret: new Map<string, OutlineMount>(), ssh: new Map<string, OutlineMount>() };
  for (const stage of stages) {
    const base = subject.bases[stage.index];
    const scope = new StageScope(
      base,
      base?.kind === 'stage' ? scopes.get(base.stage) : undefined,
      sources,
    );
    scopes.set(stage, scope);
    for (const instruction of stage.instructions) {
      scope.apply(instruction);
      for (const { name, value } of instruction.keyword === 'ARG' ? instruction.args : []) {
        if (args.has(name) || (value === undefined && global.has(name))) continue;
        args.set(name, {
          name,
          description: description(name, instruction, subject),
          value: scope.valueOf(name),
          range: instruction.range,
        });
      }
      for (const { type, id, source, target, required } of mountsOf(instruction, scope)) {
        if (type !== 'secret' && type !== 'ssh') continue;
        const name =
          id ?? (type === 'ssh' ? 'default' : (source ?? target?.split('/').at(-1) ?? ''));
        mounts[type].set(name, {
          name,
          required: required || mounts[type].get(name)?.required === true,
          range: mounts[type].get(name)?.range ?? instruction.range,
        });
      }
    }
  }
  return {
    args: [...args.values()],
    secrets: [...mounts.secret.values()],
    ssh: [...mounts.ssh.values()],
  };
}

/** None where an option has a mistake: planning reports it. */
function mountsOf(instruction: Instruction, scope: StageScope): MountOptions[] {
  if (instruction.keyword !== 'RUN' || instruction.flags.length === 0) return [];
  try {
    return readMounts(instruction.flags, (value) => scope.expand(value) ?? '');
  } catch {
    return [];
  }
}

import { MbuildError, type Diagnostic } from '../diagnostics/error';
import type { SourceRange } from '../diagnostics/range';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import { namedStage, treeNames } from '../graph/stages';
import { formatPlatform, type Platform } from '../oci/platform';
import { stageBases } from './base';
import { commentReader } from './comments';
import { checkConfig, directiveRange, isOn, withComments, type CheckConfig } from './config';
import { globalValues } from './globals';
import { ruleUrl, type Report, type Rule, type Subject } from './rule';
import type { LintOptions } from './options';
import { RULES } from './rules';
import { StageScope } from './scope';

export type { LintBase, LintOptions } from './options';

/**
 * What the rules have against a Dockerfile: warnings with the rule's name as code, by line, then in
 * the order of the rules. Time is linear in the file. Mistakes that stop a build are not looked
 * for, and are no obstacle.
 * @throws MbuildError DOCKERFILE_SEMANTIC or USAGE when `check=` is not valid; nothing else.
 */
export function lintDockerfile(dockerfile: Dockerfile, options: LintOptions): Diagnostic[] {
  const config = checkConfig(dockerfile, options.buildArgs);
  if (config.skip === 'all' && config.experimental !== 'all' && config.experimental.size === 0)
    return [];
  const subject = subjectOf(dockerfile, options);
  const findings: Diagnostic[] = [];
  // A comment above an instruction may ask for an experimental rule as well.
  const rules = RULES.filter(
    (rule) =>
      rule.experimental !== true ||
      isOn(rule, config) ||
      dockerfile.file.text.includes('experimental'),
  );
  const reports = new Map(rules.map((rule) => [rule, reportFor(rule, subject, config, findings)]));
  for (const [rule, report] of reports) rule.file?.(subject, report);
  const stages = stagesToCheck(subject);
  for (const stage of stages)
    for (const [rule, report] of reports) rule.stage?.(stage, subject, report);
  walkStages(stages, subject, reports);
  return findings.toSorted(byPlace);
}

/** The images that stages begin with, each once: what `LintOptions.base` will be asked for. */
export function baseImages(
  dockerfile: Dockerfile,
  options: LintOptions,
): { readonly name: string; readonly platform: Platform }[] {
  const found = new Map<string, { name: string; platform: Platform }>();
  const base = (name: string, platform: Platform): undefined => {
    found.set(`${name} ${formatPlatform(platform)}`, { name, platform });
  };
  stageBases(dockerfile, globalValues(dockerfile, options), { ...options, base });
  return [...found.values()];
}

/**
 * The error that `check=error=true` makes of warnings; `undefined` when it is not set or there are
 * none.
 */
export function checkViolation(
  dockerfile: Dockerfile,
  warnings: readonly Diagnostic[],
  buildArgs: LintOptions['buildArgs'],
): MbuildError | undefined {
  const names = [...new Set(warnings.map(({ code }) => code))];
  if (names.length === 0 || !checkConfig(dockerfile, buildArgs).error) return undefined;
  const place =
    dockerfile.directives.check === undefined
      ? {}
      : { file: dockerfile.file, range: directiveRange(dockerfile, 'check') };
  return new MbuildError('CHECK_FAILED', `lint violation found for rules: ${names.join(', ')}`, {
    ...place,
    others: warnings,
    hint: 'correct them, or skip the rules with # check=skip=RULE',
  });
}

/** All that rules look at. */
export function subjectOf(dockerfile: Dockerfile, options: LintOptions): Subject {
  const globals = globalValues(dockerfile, options);
  const instructions = [
    ...dockerfile.globalArgs,
    ...dockerfile.stages.flatMap((stage) => [stage.from, ...stage.instructions]),
  ];
  let split: readonly string[] | undefined;
  const lines = (): readonly string[] =>
    (split ??= dockerfile.file.text.replace(/^\ufeff/, '').split(/\r?\n/));
  return {
    dockerfile,
    options,
    globals,
    instructions,
    lines,
    bases: stageBases(dockerfile, globals, options),
    commentsOf: commentReader(lines),
  };
}

function reportFor(
  rule: Rule,
  { dockerfile, commentsOf }: Subject,
  config: CheckConfig,
  findings: Diagnostic[],
): Report {
  return (instruction: Instruction, message: string, range: SourceRange = instruction.range) => {
    if (!isOn(rule, withComments(config, commentsOf(instruction)))) return;
    findings.push({
      severity: 'warning',
      code: rule.name,
      message,
      file: dockerfile.file,
      range,
      url: rule.isOwn === true ? undefined : ruleUrl(rule.name),
    });
  };
}

function walkStages(
  stages: readonly Stage[],
  subject: Subject,
  reports: ReadonlyMap<Rule, Report>,
): void {
  const scopes = new Map<Stage, StageScope>();
  const rules = [...reports].filter(([rule]) => rule.instruction !== undefined);
  const sources = {
    escape: subject.dockerfile.directives.escape,
    globals: subject.globals,
    buildArgs: subject.options.buildArgs,
  };
  for (const stage of stages) {
    const base = subject.bases[stage.index];
    const scope = new StageScope(
      base,
      base?.kind === 'stage' ? scopes.get(base.stage) : undefined,
      sources,
    );
    for (const instruction of stage.instructions) {
      for (const [rule, report] of rules) rule.instruction?.(instruction, scope, subject, report);
      scope.apply(instruction);
    }
    scopes.set(stage, scope);
  }
}

/**
 * The stages that the target needs (all, without one, where `allStages` says so), in order of the
 * file.
 */
export function stagesToCheck({
  dockerfile,
  bases,
  options: { target, allStages },
}: Subject): Stage[] {
  const { stages } = dockerfile;
  if (allStages === true && target === undefined) return [...stages];
  const named =
    target === undefined
      ? undefined
      : (namedStage(dockerfile, target, stages.length) ??
        (/^\d+$/.test(target) ? stages[Number(target)] : undefined));
  const byName = groupByName(stages);
  const needed = new Set([named ?? stages.at(-1)]);
  // A stage can only use those above it, so that one pass upwards finds them all.
  for (const stage of stages.toReversed()) {
    if (!needed.has(stage)) continue;
    const base = bases[stage.index];
    if (base?.kind === 'stage') needed.add(base.stage);
    for (const name of treeNames(stage)) {
      needed.add(
        byName.get(name.toLowerCase())?.findLast(({ index }) => index < stage.index) ??
          (/^\d+$/.test(name) ? stages[Number(name)] : undefined),
      );
    }
  }
  return stages.filter((stage) => needed.has(stage));
}

function groupByName(stages: readonly Stage[]): Map<string, Stage[]> {
  const groups = new Map<string, Stage[]>();
  for (const stage of stages) {
    if (stage.name === undefined) continue;
    const group = groups.get(stage.name);
    if (group === undefined) groups.set(stage.name, [stage]);
    else group.push(stage);
  }
  return groups;
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  return (a.range?.start.line ?? 0) - (b.range?.start.line ?? 0);
}

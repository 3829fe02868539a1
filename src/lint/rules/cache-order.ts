import type { Instruction, Stage } from '../../dockerfile/instruction';
import { installerOf, isSystemSetup } from '../installers';
import { contextCopy, directoryOf, isStep, placedInstructions, shellLine } from '../placed';
import type { Report, Rule, Subject } from '../rule';

/**
 * Where the order of instructions costs builds: what `bench replay` advises on, without a history.
 * None of BuildKit's.
 */

/** Names of arguments that are others in every build, as a rule. */
const CHANGING =
  /(?:^|_)(?:COMMIT|SHA|REVISION|REV|VCS_REF|BUILD_?(?:ID|DATE|NUMBER|NUM|TIME)|DATE|TIMESTAMP)(?:_|$)|^(?:VERSION|APP_VERSION|RELEASE)$/i;

/** `COPY . .` above an install that reads manifests alone. */
export const copyBeforeInstall: Rule = {
  name: 'CopyBeforeInstall',
  description: 'An install that reads only manifests should come before the COPY of all files',
  experimental: true,
  isOwn: true,
  stage: (stage, subject, report) => {
    const placed = placedInstructions(stage);
    placed.forEach(({ instruction, cwd }, at) => {
      const copy = contextCopy(instruction);
      const [source = '', dest = '', ...more] = copy?.paths ?? [];
      const target = directoryOf(cwd, dest);
      if (copy === undefined || more.length > 0 || target === undefined) return;
      const prefix = source.replace(/^\.?\/+|\/+$|^\.$/g, '');
      if (prefix !== '' && /\.\w+$/.test(prefix)) return; // one file
      const install = placed
        .slice(at + 1)
        .find((other) => installsBelow(other, target, prefix, subject));
      if (install === undefined) return;
      const found = installerOf(shellLine(install.instruction) ?? '');
      report(
        instruction,
        `${found?.command ?? ''} (line ${install.instruction.range.start.line}) reads ${manifestsText(found?.installer.manifests ?? [])} only, but runs again when any file changes: copy these first, and the rest after it${costText(install.instruction, subject)}`,
      );
    });
  },
};

/** An ARG that is another in every build, above steps that do not use it. */
export const argAboveUse: Rule = {
  name: 'ArgAboveUse',
  description:
    'An ARG that changes with every build should come after the steps that do not use it',
  experimental: true,
  isOwn: true,
  stage: (stage, subject, report) => {
    stage.instructions.forEach((instruction, at) => {
      if (instruction.keyword !== 'ARG') return;
      for (const { name } of instruction.args) reportEarly(name, { stage, at, subject, report });
    });
  },
};

/** Package lists that are as old as the layer they are in. */
export const aptUpdateAlone: Rule = {
  name: 'AptUpdateAlone',
  description:
    'apt-get update and the install should be one RUN: package lists in their own layer become outdated in the cache',
  experimental: true,
  isOwn: true,
  instruction: (instruction, _scope, _subject, report) => {
    const line = shellLine(instruction);
    if (line === undefined || !/\bapt(?:-get)?\b[^&|;]*\bupdate\b/.test(line)) return;
    if (/\bapt(?:-get)?\b[^&|;]*\b(?:install|upgrade|dist-upgrade|build-dep)\b/.test(line)) return;
    report(
      instruction,
      'apt-get update is in a different RUN than its install, so the install can use outdated lists from the cache: write both as one RUN',
    );
  },
};

interface EarlyArg {
  readonly stage: Stage;
  readonly at: number;
  readonly subject: Subject;
  readonly report: Report;
}

function reportEarly(name: string, { stage, at, subject, report }: EarlyArg): void {
  const { buildArgs } = subject.options;
  if (!CHANGING.test(name) && !(name in buildArgs)) return;
  const instruction = stage.instructions[at];
  const below = stage.instructions.slice(at + 1);
  const used = below.findIndex((other) => mentions(other, name));
  const free = (used < 0 ? below : below.slice(0, used)).filter(isStep);
  const runs = free.filter(({ keyword }) => keyword === 'RUN');
  const last = free.at(-1);
  if (instruction === undefined || last === undefined || runs.length === 0) return;
  report(
    instruction,
    `ARG ${name} is part of the cache key of ${runs.length} RUN${runs.length === 1 ? '' : 's'} below that do${runs.length === 1 ? 'es' : ''} not use it: declare it after line ${last.range.start.line}${runs.map((run) => costText(run, subject)).find((text) => text !== '') ?? ''}`,
  );
}

function installsBelow(
  { instruction, cwd }: { readonly instruction: Instruction; readonly cwd: string | undefined },
  target: string,
  prefix: string,
  { options }: Subject,
): boolean {
  const line = shellLine(instruction);
  const found = line === undefined || isSystemSetup(line) ? undefined : installerOf(line);
  if (found === undefined || cwd !== target) return false;
  const { readFile } = options;
  if (readFile === undefined) return true;
  const read = (name: string): string | undefined =>
    readFile(prefix === '' ? name : `${prefix}/${name}`);
  return found.installer.needsMore(found.command, read) === undefined;
}

function manifestsText(manifests: readonly string[]): string {
  return manifests.slice(0, 2).join(', ') + (manifests.length > 2 ? ' and similar files' : '');
}

/** What it took when it ran last, where that is on record. */
function costText(instruction: Instruction, { options }: Subject): string {
  const text = instruction.original
    .replace(/\\\r?\n/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  const seconds = options.recordedSeconds?.(text);
  return seconds === undefined ? '' : ` (it took ${seconds.toFixed(1)}s when it ran last)`;
}

function mentions(instruction: Instruction, name: string): boolean {
  const text = `${instruction.original}\n${instruction.heredocs.map(({ content }) => content).join('\n')}`;
  return new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(text);
}

import { createHash } from 'node:crypto';
import type { AnalysedStep } from '../analysis';
import type { KeyRules } from './policy';

/** mbuild: by content, and with an eye on what a step leaves. */
export const MBUILD: KeyRules = {
  keyOf: (step) => step.keyed.key,
  notices: 'results',
};

/**
 * BuildKit: by content as well; a COPY --link stands on nothing. What a step leaves is not compared with what it left before
 * (moby/buildkit, solver/cachemanager.go and docs "Build cache invalidation").
 */
export const BUILDKIT: KeyRules = {
  keyOf: (step, above) =>
    step.keyed.row.link ? chained(step, [], []) : chained(step, belowOf(step, above), []),
  rule: 'link',
  notices: 'copies',
};

/** The classic builder of docker: every instruction is an image on the one before, so that each is a link of the chain. */
export const CLASSIC: KeyRules = {
  keyOf: (step, above) => chained(step, belowOf(step, above), step.keyed.row.settings),
  rule: 'settings',
  notices: 'copies',
};

/** buildah --layers: by what the history of its images says, in which an ARG is no link of the chain, but part of the RUNs below it. */
export const BUILDAH: KeyRules = {
  ...CLASSIC,
  keyOf: (step, above) =>
    chained(
      step,
      belowOf(step, above),
      step.keyed.row.settings.filter((text) => !text.startsWith('ARG ')),
    ),
};

/** kaniko: a key of all instructions so far, with the files that they bring (pkg/executor, composite_key.go and build.go). */
export function kanikoKeys(copiesToo: boolean): KeyRules {
  return {
    keyOf: (step, above) => chained(step, belowOf(step, above), step.keyed.row.settings),
    rule: 'settings',
    notices: 'nothing',
    isNeverKept: ({ keyed }) => !copiesToo && keyed.row.kind === 'copy',
  };
}

function belowOf({ keyed: { row } }: AnalysedStep, above: readonly string[]): readonly string[] {
  const below = row.below === undefined ? row.base : (above[row.below] ?? '');
  return [below, ...row.from.map((at) => above[at] ?? '')];
}

function chained(
  { keyed }: AnalysedStep,
  below: readonly string[],
  settings: readonly string[],
): string {
  return createHash('sha1')
    .update(`${keyed.own}\0${below.join('\0')}\0\0${settings.join('\0')}`)
    .digest('base64');
}

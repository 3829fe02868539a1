import { stringFlag } from '../../dockerfile/flags';
import { expandWord } from '../../dockerfile/expand';
import type { Stage } from '../../dockerfile/instruction';
import { formatPlatform, parsePlatform } from '../../oci/platform';
import type { Rule, Subject } from '../rule';

/** `--platform=$TARGETPLATFORM` says what is so anyway. */
export const redundantTargetPlatform: Rule = {
  name: 'RedundantTargetPlatform',
  description:
    'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
  file: (subject, report) => {
    const target = formatPlatform(subject.options.platform);
    for (const { from } of subject.dockerfile.stages) {
      const flag = stringFlag(from.flags, 'platform');
      if (flag === undefined || !flag.includes('$')) continue;
      const asked = new Set<string>();
      const value = valueOf(flag, subject, (name) => asked.add(name));
      if (value === target && asked.size === 1 && asked.has('TARGETPLATFORM')) {
        report(
          from,
          `Setting platform to predefined ${flag} in FROM is redundant as this is the default behavior`,
        );
      }
    }
  },
};

/**
 * A constant platform makes an image for one machine; a stage whose name tells the platform is
 * meant so.
 */
export const fromPlatformFlagConstDisallowed: Rule = {
  name: 'FromPlatformFlagConstDisallowed',
  description: 'FROM --platform flag should not use a constant value',
  file: (subject, report) => {
    for (const stage of subject.dockerfile.stages) {
      const flag = stringFlag(stage.from.flags, 'platform');
      if (flag === undefined || flag.includes('$') || isNamedAfter(stage, flag)) continue;
      report(stage.from, `FROM --platform flag should not use constant value "${flag}"`);
    }
  },
};

/** The registry had no image for the platform and gave another one. */
export const invalidBaseImagePlatform: Rule = {
  name: 'InvalidBaseImagePlatform',
  description: 'Base image platform does not match expected target platform',
  stage: (stage, subject, report) => {
    const base = subject.bases[stage.index];
    const actual = base?.kind === 'image' ? base.known?.platform : undefined;
    if (base?.kind !== 'image' || actual === undefined) return;
    if (actual.os === base.platform.os && actual.architecture === base.platform.architecture)
      return;
    report(
      stage.from,
      `Base image ${base.name} was pulled with platform "${formatPlatform(actual)}", expected "${formatPlatform(base.platform)}" for current build`,
    );
  },
};

function isNamedAfter({ name }: Stage, flag: string): boolean {
  const platform = parsePlatform(flag);
  return (
    name !== undefined &&
    platform !== undefined &&
    (name.includes(platform.os) || name.includes(platform.architecture))
  );
}

function valueOf(
  flag: string,
  { dockerfile, globals }: Subject,
  ask: (name: string) => void,
): string | undefined {
  try {
    return expandWord(
      flag,
      (name) => {
        ask(name);
        return globals.value(name);
      },
      dockerfile.directives.escape,
    ).value;
  } catch {
    return undefined;
  }
}

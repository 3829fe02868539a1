import type { Rule } from './rule';
import { aptUpdateAlone, argAboveUse, copyBeforeInstall } from './rules/cache-order';
import { consistentInstructionCasing, fromAsCasing, stageNameCasing } from './rules/casing';
import { jsonArgsRecommended, multipleInstructionsDisallowed } from './rules/commands';
import { noEmptyContinuation } from './rules/continuation';
import { copyIgnoredFile } from './rules/copy-ignored';
import { invalidDefinitionDescription } from './rules/definition';
import { exposeInvalidFormat, exposeProtoCasing } from './rules/expose';
import { invalidDefaultArgInFrom, undefinedArgInFrom } from './rules/from-args';
import {
  fromPlatformFlagConstDisallowed,
  invalidBaseImagePlatform,
  redundantTargetPlatform,
} from './rules/from-platform';
import { legacyKeyValueFormat } from './rules/key-value';
import { maintainerDeprecated } from './rules/maintainer';
import { secretsUsedInArgOrEnv } from './rules/secrets';
import { duplicateStageName, reservedStageName } from './rules/stage-names';
import { undefinedVar } from './rules/variables';
import { workdirRelativePath } from './rules/workdir';

/** Every rule, in the order in which warnings about one line are given. */
export const RULES: readonly Rule[] = [
  noEmptyContinuation,
  stageNameCasing,
  fromAsCasing,
  maintainerDeprecated,
  invalidDefinitionDescription,
  reservedStageName,
  duplicateStageName,
  consistentInstructionCasing,
  invalidDefaultArgInFrom,
  undefinedArgInFrom,
  redundantTargetPlatform,
  fromPlatformFlagConstDisallowed,
  invalidBaseImagePlatform,
  undefinedVar,
  secretsUsedInArgOrEnv,
  legacyKeyValueFormat,
  multipleInstructionsDisallowed,
  jsonArgsRecommended,
  workdirRelativePath,
  exposeProtoCasing,
  exposeInvalidFormat,
  copyIgnoredFile,
  copyBeforeInstall,
  argAboveUse,
  aptUpdateAlone,
];

/** The rule of a name; names are compared exactly. */
export function findRule(name: string): Rule | undefined {
  return RULES.find((rule) => rule.name === name);
}

import { MbuildError, errorOfDiagnostics } from '../diagnostics/error';
import type { SourceFile } from '../diagnostics/range';
import type { Instruction } from '../dockerfile/instruction';
import { parseInstructions } from '../dockerfile/parse';
import { planInstruction } from '../graph/instructions';
import { configOf } from '../graph/config';
import { freshState, type StageScopeReader } from '../graph/state';
import type { ContainerConfig } from '../oci/image';
import { hostPlatform } from '../oci/platform';

/**
 * Instructions that change the config and nothing else. moby, builder/dockerfile,
 * "validCommitCommands".
 */
const ALLOWED: readonly Instruction['keyword'][] = [
  'CMD',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'HEALTHCHECK',
  'LABEL',
  'ONBUILD',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
];

/**
 * A config after Dockerfile instructions, one in each text: `-c` of `commit` and `import`.
 * @throws MbuildError DOCKERFILE_SYNTAX and the like for a mistake in a text, UNKNOWN_INSTRUCTION
 * for one that makes files.
 */
export async function applyChanges(
  config: ContainerConfig,
  changes: readonly string[],
): Promise<ContainerConfig> {
  let state = freshState(config);
  for (const text of changes) {
    const file: SourceFile = { name: '--change', text };
    const { instructions, diagnostics } = parseInstructions(file);
    const errors = diagnostics.filter(({ severity }) => severity === 'error');
    if (errors.length > 0) throw errorOfDiagnostics(errors);
    for (const instruction of instructions) {
      if (!ALLOWED.includes(instruction.keyword)) {
        throw new MbuildError(
          'UNKNOWN_INSTRUCTION',
          `${instruction.keyword} cannot be a --change`,
          { file, range: instruction.range, hint: `allowed are ${ALLOWED.join(', ')}` },
        );
      }
      state = await planInstruction(instruction, state, scopeOf(file));
    }
  }
  return configOf(state);
}

/** What instructions see where there is no stage around them. */
function scopeOf(file: SourceFile): StageScopeReader {
  return {
    file,
    escape: '\\',
    stageName: '',
    platform: hostPlatform(),
    network: 'none',
    allowInsecure: false,
    run: {},
    buildArgs: new Map(),
    globalArgs: new Map(),
    platformArgs: new Map(),
    findTree: (name) =>
      Promise.reject(new MbuildError('INTERNAL', `a --change that copies from ${name}`)),
    makeStep: (operation, name, range) => ({ id: 0, name, stage: '', file, range, operation }),
    warn: () => undefined,
  };
}

import { MbuildError } from '../diagnostics/error';
import { suggest } from '../diagnostics/suggest';
import { stringFlag } from '../dockerfile/flags';
import type { Dockerfile, Stage } from '../dockerfile/instruction';
import { parsePlatform, type Platform } from '../oci/platform';
import { parseReference } from '../oci/reference';
import type { GlobalScope } from './global-args';
import { namedStage, stageBaseName } from './stages';

/** What a FROM says, expanded with the global ARGs. */
export interface From {
  readonly name: string;
  /** As the flag has it; absent without one. */
  readonly platform: Platform | undefined;
}

const GLOBAL_ARGS_HINT =
  'only ARGs before the first FROM can be used in FROM: give it a default or --build-arg';

/**
 * @throws MbuildError DOCKERFILE_SEMANTIC for what is empty after expansion and for an unknown
 * platform, placed.
 */
export function readFrom(stage: Stage, dockerfile: Dockerfile, globals: GlobalScope): From {
  const place = { file: dockerfile.file, range: stage.from.range };
  const name = globals.expand(stage.from.image);
  if (name === '')
    throw new MbuildError(
      'DOCKERFILE_SEMANTIC',
      `the base name ${stage.from.image} is empty after expansion`,
      { ...place, hint: GLOBAL_ARGS_HINT },
    );
  const base = stageBaseName(name);
  const flag = stringFlag(stage.from.flags, 'platform');
  if (flag === undefined) return { name: base, platform: undefined };
  const text = globals.expand(flag);
  if (text === '')
    throw new MbuildError('DOCKERFILE_SEMANTIC', `--platform=${flag} is empty after expansion`, {
      ...place,
      hint: GLOBAL_ARGS_HINT,
    });
  const platform = parsePlatform(text);
  if (platform === undefined)
    throw new MbuildError('DOCKERFILE_SEMANTIC', `"${text}" is not a platform`, {
      ...place,
      hint: 'write OS/ARCH[/VARIANT], for example linux/arm64',
    });
  return { name: base, platform };
}

/**
 * What stands behind FROM must be a name, also in stages that are not needed.
 * @param isContext whether a name is that of a named context
 * @throws MbuildError REFERENCE_INVALID, placed.
 */
export function checkFrom(
  { name }: From,
  stage: Stage,
  dockerfile: Dockerfile,
  isContext: (name: string) => boolean,
): void {
  const place = { file: dockerfile.file, range: stage.from.range };
  const below = namedStage(dockerfile, name, stage.index);
  if (below?.name !== undefined && below.name !== name)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `FROM finds the stage ${name} only as ${below.name}`,
      {
        ...place,
        hint: `stage names are stored in lower case: write FROM ${below.name}`,
      },
    );
  if (below !== undefined || isContext(name) || parseReference(name) !== undefined) return;
  throw new MbuildError('REFERENCE_INVALID', `"${name}" is not a valid image name`, {
    ...place,
    hint: 'write [REGISTRY/]REPOSITORY[:TAG][@DIGEST], with the repository in lower case',
  });
}

/**
 * The stage that a build is asked for; the last one without a name.
 * @throws MbuildError UNKNOWN_STAGE, DOCKERFILE_EMPTY.
 */
export function targetStage(dockerfile: Dockerfile, target: string | undefined): Stage {
  const last = dockerfile.stages.at(-1);
  if (last === undefined)
    throw new MbuildError('DOCKERFILE_EMPTY', `${dockerfile.file.name} has no FROM`, {
      file: dockerfile.file,
    });
  if (target === undefined || target === '') return last;
  const found = namedStage(dockerfile, target, dockerfile.stages.length);
  if (found !== undefined) return found;
  const names = dockerfile.stages.flatMap((stage) => stage.name ?? []);
  throw new MbuildError('UNKNOWN_STAGE', `${dockerfile.file.name} has no stage ${target}`, {
    hint: targetHint(target, names),
  });
}

function targetHint(target: string, names: readonly string[]): string {
  const near = suggest(target.toLowerCase(), names);
  if (near !== undefined) return `did you mean ${near}?`;
  if (names.length === 0) return 'none of its stages has a name: name one with FROM … AS NAME';
  return `its stages are ${names.join(', ')}`;
}

import { MbuildError, isMbuildError, type ErrorFacts } from '../diagnostics/error';
import type { SourceRange } from '../diagnostics/range';
import { suggest } from '../diagnostics/suggest';
import type { Dockerfile, Stage } from '../dockerfile/instruction';
import { namedStage, stageTitle } from './stages';

/** What `--from=` or `from=` names. */
export type TreeName =
  | { readonly kind: 'stage'; readonly stage: Stage }
  | { readonly kind: 'context'; readonly name: string }
  | { readonly kind: 'scratch' }
  | { readonly kind: 'image'; readonly name: string };

/** Where a tree's name stands. */
export interface TreePlace {
  readonly dockerfile: Dockerfile;
  readonly stage: Stage;
  readonly range: SourceRange;
  /** The named context that a name means. */
  readonly contextNamed: (name: string) => string | undefined;
}

/**
 * Tells what a name means: a stage before a named context before an image.
 * @throws MbuildError UNKNOWN_STAGE, CIRCULAR_STAGES, placed.
 */
export function readTreeName(name: string, place: TreePlace): TreeName {
  const { dockerfile } = place;
  const isNumber = /^\d+$/.test(name);
  const stage =
    namedStage(dockerfile, name, dockerfile.stages.length) ??
    (isNumber ? dockerfile.stages[Number(name)] : undefined);
  if (stage !== undefined) return { kind: 'stage', stage: above(stage, place) };
  const context = place.contextNamed(name);
  if (context !== undefined) return { kind: 'context', name: context };
  if (name === 'scratch') return { kind: 'scratch' };
  if (!isNumber) return { kind: 'image', name };
  const count = dockerfile.stages.length;
  throw new MbuildError('UNKNOWN_STAGE', `stage ${name} does not exist`, {
    ...factsOf(place),
    hint:
      count === 1
        ? 'the only stage is 0'
        : `the stages are numbered from 0 to ${count - 1}; it is safer to name them: FROM … AS NAME`,
  });
}

/** Files are copied from stages above alone. */
function above(found: Stage, place: TreePlace): Stage {
  const { stage } = place;
  if (found.index < stage.index) return found;
  if (found.index === stage.index)
    throw new MbuildError(
      'CIRCULAR_STAGES',
      `stage ${stageTitle(stage)} copies from itself`,
      factsOf(place),
    );
  throw new MbuildError(
    'CIRCULAR_STAGES',
    `stage ${stageTitle(stage)} copies from stage ${stageTitle(found)}, which comes later`,
    {
      ...factsOf(place),
      hint: `move the stage ${stageTitle(found)} (line ${found.from.range.start.line}) above the stage ${stageTitle(stage)}`,
    },
  );
}

/** What a name may have been meant as. */
export interface Declared {
  /** Names of stages above. */
  readonly stages: readonly string[];
  /** Names of `--build-context`. */
  readonly contexts: readonly string[];
}

/**
 * An image that was not found may have been meant as a stage or a named context: the error then
 * names those that are declared.
 */
export function perhapsDeclared(
  error: unknown,
  name: string,
  { stages, contexts }: Declared,
): unknown {
  if (!isMbuildError(error)) return error;
  const stage = suggest(name.toLowerCase(), stages);
  if (stage !== undefined)
    return notDeclared('stage', name, error, `did you mean the stage ${stage}?`);
  const context = suggest(name, contexts);
  if (context !== undefined)
    return notDeclared('build context', name, error, `did you mean the build context ${context}?`);
  if (contexts.length === 0 || !/^[a-z0-9_-]+$/i.test(name)) return error;
  return notDeclared(
    'build context',
    name,
    error,
    `the declared build contexts are ${contexts.join(', ')}`,
  );
}

function notDeclared(
  kind: 'stage' | 'build context',
  name: string,
  error: MbuildError,
  hint: string,
): MbuildError {
  const { file, range } = error;
  return new MbuildError(
    'UNKNOWN_STAGE',
    `${kind} ${name} does not exist, and no image with that name was found: ${error.message}`,
    { cause: error, file, range, hint },
  );
}

function factsOf({ dockerfile, range }: TreePlace): ErrorFacts {
  return { file: dockerfile.file, range };
}

import path from 'node:path';
import type { LocalContext } from '../context/local';
import type { Diagnostic } from '../diagnostics/error';
import type { Graph, Step } from '../graph/graph';
import { toRaw } from '../linux/paths';

/** Something that is seldom meant to be in an image. */
interface Concern {
  readonly code: string;
  /** At the top of the context. */
  readonly names: readonly string[];
  /** Why not, behind the name. */
  readonly why: string;
}

const CONCERNS: readonly Concern[] = [
  {
    code: 'ContextHoldsGit',
    names: ['.git'],
    why: 'changes with every commit, so this instruction never comes from the cache',
  },
  {
    code: 'ContextHoldsModules',
    names: ['node_modules'],
    why: 'was installed for this machine, and may not fit the image',
  },
  {
    code: 'ContextHoldsSecrets',
    names: [
      '.aws',
      '.env',
      '.git-credentials',
      '.netrc',
      '.npmrc',
      '.pypirc',
      '.ssh',
      'id_ecdsa',
      'id_ed25519',
      'id_rsa',
    ],
    why: 'can be read by everyone who has the image (use --secret to pass secrets to a RUN)',
  },
];

/**
 * Warnings about what comes into an image by copying the whole context, and is seldom meant to:
 * once, at the first instruction that does.
 */
export function contextConcerns(graph: Graph, context: LocalContext): Diagnostic[] {
  const copies = graph.stages.flatMap(({ steps }) => steps).filter(copiesAll);
  return CONCERNS.flatMap(({ code, names, why }) =>
    names.flatMap((name): Diagnostic[] => {
      const step = copies.find(
        ({ operation }) =>
          operation.kind === 'copy' && !operation.exclude.some((pattern) => namesIt(pattern, name)),
      );
      if (step === undefined || context.lstat(toRaw(`/${name}`)) === undefined) return [];
      return [
        {
          severity: 'warning',
          code,
          message: `${name} is copied with the rest of the context, and ${why}; to exclude it, add a line ${name} to .dockerignore`,
          file: step.file,
          range: step.range,
        },
      ];
    }),
  );
}

function copiesAll({ operation }: Step): boolean {
  return (
    operation.kind === 'copy' &&
    operation.from.kind === 'context' &&
    operation.from.name === undefined &&
    operation.sources.some(
      (source) => source.kind === 'path' && path.posix.normalize(`/${source.path}`) === '/',
    )
  );
}

function namesIt(pattern: string, name: string): boolean {
  return (
    path.posix
      .normalize(`/${pattern}`)
      .replace(/^\/\*\*/, '')
      .replace(/(?:\/\*\*)?\/?$/, '') === `/${name}`
  );
}

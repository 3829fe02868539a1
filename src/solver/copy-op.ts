import { toText, type RawPath } from '../linux/paths';
import { MbuildError } from '../diagnostics/error';
import type { Selection } from '../context/selected';

/** COPY or ADD with everything found that it copies. */
export interface CopyOp {
  /** In order; later ones overwrite earlier ones. */
  readonly inputs: readonly CopyInput[];
  /** Absolute; a slash at the end says that it is a directory. */
  readonly dest: string;
  /**
   * Owner of all that is copied and of the parents made for it; absent: as the inputs say, and 0:0
   * for parents.
   */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** `--chmod`, as {@link parseChmod} reads it. */
  readonly chmod?: Chmod | undefined;
}

/** What COPY and ADD copy. */
export type CopyInput =
  /** From a context or another tree; `ownership` is the tree's. */
  | {
      readonly kind: 'selection';
      readonly selection: Selection;
      readonly ownership: 'root' | 'kept';
      /** Files that are archives are unpacked. */ readonly unpack: boolean;
    }
  /** A heredoc: a file of mode 0644. */
  | { readonly kind: 'inline'; readonly name: string; readonly content: Uint8Array }
  /** A file that was fetched: mode 0600 unless --chmod says otherwise. */
  | {
      readonly kind: 'download';
      readonly name: string;
      readonly hostPath: RawPath;
      /** Seconds since the epoch. */ readonly mtime?: number | undefined;
      readonly unpack: boolean;
    };

/** A change of mode: absolute, or depending on what it is applied to. */
export type Chmod =
  | { readonly kind: 'absolute'; readonly mode: number }
  | { readonly kind: 'symbolic'; readonly clauses: readonly ChmodClause[] };

/** `u+rwx`: whose bits, what to do, which ones. */
export interface ChmodClause {
  readonly who: number;
  readonly operator: '+' | '-' | '=';
  readonly permissions: string;
}

// POSIX.1-2017, chmod, "Grammar for the symbolic mode".
const WHO = { u: 0o4700, g: 0o2070, o: 0o0007, a: 0o6777 } as const;
const STICKY = 0o1000;
const CLAUSE = /^([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)$/;
const ACTION = /([-+=])([ugo]|[rwxXst]*)/g;

/**
 * Reads `--chmod`: octal, or symbolic as chmod(1) has it; without `u`, `g`, `o` or `a` all are
 * meant.
 * @throws MbuildError DOCKERFILE_SEMANTIC.
 */
export function parseChmod(text: string): Chmod {
  if (/^[0-9]+$/.test(text)) {
    if (!/^[0-7]+$/.test(text) || parseInt(text, 8) > 0o7777)
      throw invalidMode(text, 'write an octal number from 0 to 07777');
    return { kind: 'absolute', mode: parseInt(text, 8) };
  }
  const clauses = text.split(',').flatMap((clause): ChmodClause[] => {
    const [, whose, actions] = CLAUSE.exec(clause) ?? [];
    if (whose === undefined || actions === undefined)
      throw invalidMode(text, 'write it as 755, or as u=rwX,go=rX');
    const given = [...whose].reduce((bits, letter) => bits | WHO[letter as keyof typeof WHO], 0);
    return [...actions.matchAll(ACTION)].map(([, operator, permissions = '']) => ({
      who: whoOf(given, permissions),
      operator: operator as ChmodClause['operator'],
      permissions,
    }));
  });
  return { kind: 'symbolic', clauses };
}

/**
 * The bits that a clause is about. The sticky one is where it is named, unless `o` alone is given,
 * and then alone where nobody is: as BSD's setmode(3), which BuildKit has.
 */
function whoOf(given: number, permissions: string): number {
  const who = permissions.includes('t') && given !== WHO.o ? given | STICKY : given;
  return who === 0 ? WHO.a : who;
}

/** The mode (permission bits with setuid, setgid, sticky) after a change. */
export function applyChmod(chmod: Chmod | undefined, mode: number, isDirectory: boolean): number {
  if (chmod === undefined) return mode;
  if (chmod.kind === 'absolute') return chmod.mode;
  // X asks for the mode as it was before all clauses (POSIX).
  const isExecutable = isDirectory || (mode & 0o111) !== 0;
  return chmod.clauses.reduce(
    (current, clause) => applyClause(clause, current, isExecutable),
    mode,
  );
}

/**
 * The mode of directories that are made to lead to the destination: under the umask of docker's
 * daemon.
 */
export function parentMode(chmod: Chmod | undefined): number {
  return chmod?.kind === 'absolute' ? chmod.mode & 0o755 : 0o755;
}

function applyClause(
  { who, operator, permissions }: ChmodClause,
  mode: number,
  isExecutable: boolean,
): number {
  const bits = bitsOf(permissions, mode, isExecutable) & who;
  if (operator === '+') return mode | bits;
  if (operator === '-') return mode & ~bits;
  return (mode & ~who) | bits;
}

function bitsOf(permissions: string, mode: number, isExecutable: boolean): number {
  const copied = { u: mode >> 6, g: mode >> 3, o: mode }[permissions];
  if (copied !== undefined) return (copied & 7) * 0o111;
  let bits = 0;
  for (const letter of permissions) {
    if (letter === 'r') bits |= 0o444;
    else if (letter === 'w') bits |= 0o222;
    else if (letter === 'x') bits |= 0o111;
    else if (letter === 'X') bits |= isExecutable ? 0o111 : 0;
    else if (letter === 's') bits |= 0o6000;
    else bits |= STICKY;
  }
  return bits;
}

export function changedMeanwhile(file: RawPath): MbuildError {
  return new MbuildError('COPY_FAILED', `${toText(file)} changed while it was copied`, {
    hint: 'build again when no program writes to it',
  });
}

function invalidMode(text: string, why: string): MbuildError {
  return new MbuildError('DOCKERFILE_SEMANTIC', `invalid value "${text}" for --chmod: ${why}`);
}

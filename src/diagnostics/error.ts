import type { SourceFile, SourceRange } from './range';

/**
 * A user's mistake (or a warning) at a place in a file.
 * `code` is stable; `message` says what is wrong in the user's words; `hint` the way out.
 */
export interface Diagnostic {
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly message: string;
  readonly file?: SourceFile | undefined;
  readonly range?: SourceRange | undefined;
  readonly hint?: string | undefined;
  /** More about a lint rule. */
  readonly url?: string | undefined;
}

/**
 * Every code an MbuildError or Diagnostic of severity `error` can carry: the contract of
 * `--format json` and scripts.
 */
export type ErrorCode =
  | 'USAGE' // the command line is not valid
  | 'BAKE_INVALID' // a bake or compose file is not valid
  | 'DOCKERFILE_NOT_FOUND'
  | 'DOCKERFILE_EMPTY'
  | 'DOCKERFILE_SYNTAX'
  | 'DOCKERFILE_SEMANTIC'
  | 'UNKNOWN_INSTRUCTION'
  | 'UNKNOWN_FLAG'
  | 'UNKNOWN_STAGE'
  | 'CIRCULAR_STAGES'
  | 'CONTEXT_NOT_FOUND'
  | 'CONTEXT_INVALID'
  | 'IGNORE_FILE_INVALID'
  | 'SOURCE_NOT_FOUND'
  | 'COPY_FAILED'
  | 'DOWNLOAD_FAILED'
  | 'CHECKSUM_MISMATCH'
  | 'GIT_FAILED'
  | 'EXEC_FAILED'
  | 'EXEC_NOT_FOUND'
  | 'STEP_TIMEOUT'
  | 'BUILD_TIMEOUT' // `--timeout`
  | 'DEVICE_NOT_FOUND'
  | 'DEVICE_SPEC'
  | 'HOST_PATH_NOT_FOUND'
  | 'SANDBOX_UNAVAILABLE'
  | 'SANDBOX_FAILED'
  | 'USER_NOT_FOUND'
  | 'IMAGE_NOT_FOUND'
  | 'IMAGE_INVALID'
  | 'IMAGE_IN_USE'
  | 'REFERENCE_INVALID'
  | 'PLATFORM_NOT_FOUND'
  | 'PLATFORM_UNSUPPORTED'
  | 'CONTAINER_NOT_FOUND'
  | 'CONTAINER_CONFLICT'
  | 'BUILD_NOT_FOUND'
  | 'REGISTRY_UNREACHABLE'
  | 'REGISTRY_DENIED'
  | 'REGISTRY_FAILED'
  | 'TLS_FAILED'
  | 'DIGEST_MISMATCH'
  | 'SIZE_MISMATCH'
  | 'ARCHIVE_INVALID'
  | 'ARCHIVE_UNSAFE'
  | 'LIMIT_EXCEEDED'
  | 'CACHE_INVALID'
  | 'CACHE_SERVER_FAILED' // a cache elsewhere holds what it must not
  | 'STORE_UNUSABLE'
  | 'STORE_CORRUPT'
  | 'STORE_LOCKED'
  | 'NO_SPACE'
  | 'PERMISSION_DENIED'
  | 'IO_FAILED'
  | 'CHECK_FAILED' // `check=error=true` and a rule is violated
  | 'SECRET_MISSING'
  | 'NOT_ALLOWED'
  | 'UNSUPPORTED'
  | 'CANCELED'
  | 'INTERNAL';

/** What an MbuildError may know besides its message. */
export interface ErrorFacts {
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  readonly file?: SourceFile | undefined;
  readonly range?: SourceRange | undefined;
  /** The exit code of the failed step, for results in JSON. */
  readonly exitCode?: number | undefined;
  /** The last lines that a failed command wrote. */
  readonly output?: string | undefined;
  /** Further diagnostics that were found in the same pass; the error itself is the first. */
  readonly others?: readonly Diagnostic[] | undefined;
}

/**
 * Every failure that can be foreseen. `code` is stable, `message` names the thing, `hint` the way
 * out. Test with {@link isMbuildError}: `instanceof` fails across realms.
 */
export class MbuildError extends Error {
  override readonly name = 'MbuildError';
  readonly hint: string | undefined;
  readonly file: SourceFile | undefined;
  readonly range: SourceRange | undefined;
  readonly exitCode: number | undefined;
  readonly output: string | undefined;
  readonly others: readonly Diagnostic[];

  constructor(
    readonly code: ErrorCode,
    message: string,
    facts: ErrorFacts = {},
  ) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.hint = facts.hint;
    this.file = facts.file;
    this.range = facts.range;
    this.exitCode = facts.exitCode;
    this.output = facts.output;
    this.others = facts.others ?? [];
  }

  /** The same error, placed: `file` and `range` are set where they were not known yet. */
  at(file: SourceFile | undefined, range: SourceRange | undefined): MbuildError {
    if (this.file !== undefined && this.range !== undefined) return this;
    return new MbuildError(this.code, this.message, {
      ...this,
      cause: this.cause,
      file: this.file ?? file,
      range: this.range ?? range,
    });
  }
}

/** True for an MbuildError of any realm, with the given code if one is given. */
export function isMbuildError(error: unknown, code?: ErrorCode): error is MbuildError {
  if (
    typeof error !== 'object' ||
    error === null ||
    (error as { name?: unknown }).name !== 'MbuildError'
  )
    return false;
  return code === undefined || (error as MbuildError).code === code;
}

/** The `code` of a system error (`ENOENT`, …); `undefined` for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  // Node.js has no name for this one.
  if (errno === -EDQUOT) return 'EDQUOT';
  return typeof code === 'string' ? code : undefined;
}

// <asm-generic/errno.h>
const EDQUOT = 122;

/**
 * A refusal of the system that nobody has put into words, as an MbuildError that says what it comes
 * to; anything else as it is.
 */
export function asForeseen(error: unknown): unknown {
  if (isMbuildError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  switch (errnoOf(error)) {
    case 'ENOSPC':
      return new MbuildError('NO_SPACE', message, {
        cause: error,
        hint: 'free some space, or move the store with --root',
      });
    case 'EDQUOT':
      return new MbuildError(
        'NO_SPACE',
        message.replace(/^.*?unknown error/i, 'disk quota exceeded'),
        {
          cause: error,
          hint: "the user's disk quota is used up: free some space, or move the store with --root",
        },
      );
    case 'EMFILE':
    case 'ENFILE':
      return new MbuildError('IO_FAILED', message, {
        cause: error,
        hint: "allow more open files ('ulimit -n'), or build with fewer --jobs",
      });
    case 'EIO':
      return new MbuildError('IO_FAILED', message, {
        cause: error,
        hint: 'the disk has a fault: read the messages of the kernel (dmesg)',
      });
    case 'ENAMETOOLONG':
      return new MbuildError(
        'UNSUPPORTED',
        message.length > 200 ? `${message.slice(0, 200)}…` : message,
        {
          hint: 'shorten it: a path may have 4,095 bytes, including the path of the store, and a name 255',
        },
      );
    case 'ENOENT':
      // Node.js' name for getcwd(3).
      if ((error as { syscall?: unknown }).syscall !== 'uv_cwd') return error;
      return new MbuildError('IO_FAILED', 'the working directory has been deleted', {
        cause: error,
        hint: 'change to a directory that exists',
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new MbuildError('PERMISSION_DENIED', message, { cause: error });
    default:
      return error;
  }
}

/**
 * What a refusal of the system says of the machine, and not of the file that was asked for: there
 * is no room, no descriptor is left, or the disk fails.
 */
export function machineFault(error: unknown): MbuildError | undefined {
  const foreseen = asForeseen(error);
  return isMbuildError(foreseen, 'NO_SPACE') || isMbuildError(foreseen, 'IO_FAILED')
    ? foreseen
    : undefined;
}

/** One error out of all that a pass found: the first is the error, the others ride along. */
export function errorOfDiagnostics(diagnostics: readonly Diagnostic[]): MbuildError {
  const [first, ...others] = diagnostics;
  if (first === undefined) return new MbuildError('INTERNAL', 'an error without a diagnostic');
  return new MbuildError(first.code as ErrorCode, first.message, {
    file: first.file,
    range: first.range,
    hint: first.hint,
    others,
  });
}

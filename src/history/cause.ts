/**
 * One reason why a step was not taken from the cache: how it differs from the nearest earlier one.
 */
export type Cause =
  /** Nothing like it was built before. */
  | { readonly kind: 'first' }
  /** It was there, and was removed to save space. `at` is RFC 3339. */
  | { readonly kind: 'evicted'; readonly at: string }
  /** It was there, and is not: lost or damaged. */
  | { readonly kind: 'lost' }
  /** A cache elsewhere has it, made on other layers than those that are below it here. */
  | { readonly kind: 'elsewhere'; readonly from: string }
  /** `--no-cache`, `--no-cache-filter`. */
  | { readonly kind: 'asked'; readonly flag: string }
  /** The step before it left another tree. `rebuilt`: it was run in this build. */
  | { readonly kind: 'parent'; readonly step: string; readonly rebuilt: boolean }
  | {
      readonly kind: 'base';
      readonly before: { readonly name: string; readonly digest: string };
      readonly after: { readonly name: string; readonly digest: string };
    }
  | FileCause
  /** The files of a source differ; which ones is not known. */
  | { readonly kind: 'files'; readonly source: string }
  /**
   * What ADD fetches is another one at its address. `before` and `after`: the file's digest, or the
   * repository's commit.
   */
  | {
      readonly kind: 'fetched';
      readonly name: string;
      readonly before: string;
      readonly after: string;
    }
  | VariableCause
  | { readonly kind: 'instruction'; readonly before: string; readonly after: string }
  /** Something else that the step depends on: `USER`, `WORKDIR`, `--chmod`, … */
  | {
      readonly kind: 'setting';
      readonly name: string;
      readonly before?: string | undefined;
      readonly after?: string | undefined;
    }
  /**
   * It was built by another version of mbuild, whose keys are made in another way: what it left
   * cannot be found. `before`: its form, where it is on record.
   */
  | { readonly kind: 'version'; readonly before?: string | undefined; readonly after: string }
  /** What happened before could not be read. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** A file that differs. `change` says how; sizes in bytes, modes as octal text. */
export interface FileCause {
  readonly kind: 'file';
  /** In the tree that it is taken from. */
  readonly path: string;
  readonly change:
    'content' | 'added' | 'removed' | 'mode' | 'owner' | 'type' | 'target' | 'xattrs';
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  /** Of `content`: how much longer it is. */
  readonly bytes?: number | undefined;
  /** It is a directory with nothing in it. */
  readonly directory?: boolean | undefined;
  /** Of `added`: it comes from a context, where an ignore file can hide it. */
  readonly ignorable?: boolean | undefined;
}

/** A variable that differs. */
export interface VariableCause {
  readonly kind: 'variable';
  readonly instruction: 'ARG' | 'ENV';
  readonly name: string;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  /** Where it is declared. */
  readonly line?: number | undefined;
  /** No later RUN of its stage names it. */
  readonly unused?: boolean | undefined;
  /** This RUN does not name it; another one does. */
  readonly unnamed?: boolean | undefined;
}

/** How many causes stand in one line. */
const SHOWN = 3;
const MAX_VALUE = 40;
const MAX_INSTRUCTION = 80;
/** Characters of an instruction that are shown in front of what differs, and at least behind it. */
const SEEN_BEFORE = 20;
const SEEN_AFTER = 20;
const DIGEST_SHOWN = 12;

/** A cause in a few words. */
export function causeText(cause: Cause): string {
  switch (cause.kind) {
    case 'first':
      return 'no earlier build of this step';
    case 'evicted':
      return `evicted on ${cause.at.replace(/T(\d\d:\d\d).*$/, ' $1 UTC')}`;
    case 'lost':
      return 'its result is no longer in the store';
    case 'elsewhere':
      return `the cache of ${cause.from} has it on different layers`;
    case 'asked':
      return `requested with ${cause.flag}`;
    case 'parent':
      return cause.rebuilt
        ? `parent step ${cause.step} was rebuilt`
        : `parent step ${cause.step} has a different result than before`;
    case 'base':
      return baseText(cause.before, cause.after);
    case 'file':
      return fileText(cause);
    case 'files':
      return `files of ${cause.source} changed`;
    case 'fetched':
      return `${cause.name} changed at its address (${shortHash(cause.before)}→${shortHash(cause.after)})`;
    case 'variable':
      return variableText(cause);
    case 'instruction':
      return `instruction changed (was: ${aroundChange(cause.before, cause.after)})`;
    case 'setting':
      return settingText(cause.name, cause.before, cause.after);
    case 'unknown':
      return `reason unknown: ${cause.reason}`;
    case 'version':
      return `built before by another version of mbuild, whose cache this one cannot use${cause.before === undefined ? '' : ` (${cause.before}, here ${cause.after})`}`;
  }
}

/** The causes in one line: what differs in the step itself says more than that its parent does. */
export function causesLine(causes: readonly Cause[]): string {
  const own = causes.filter((cause) => cause.kind !== 'parent');
  const told = own.length > 0 ? own : causes;
  const more = told.length - SHOWN;
  return `${told.slice(0, SHOWN).map(causeText).join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
}

function fileText({ path, change, before, after, bytes, directory, ignorable }: FileCause): string {
  switch (change) {
    case 'content':
      return `${path} changed (${bytes === undefined || bytes === 0 ? 'same size' : `${bytes > 0 ? '+' : '−'}${Math.abs(bytes)} B`})`;
    case 'added':
      return `new ${directory === true ? 'directory' : 'file'} ${path}${ignorable === true ? ' (not ignored)' : ''}`;
    case 'removed':
      return `${path} was removed`;
    case 'mode':
      return `mode ${before ?? ''}→${after ?? ''} of ${path}${byUmask(before, after) ? ' (umask?)' : ''}`;
    case 'owner':
      return `owner ${before ?? ''}→${after ?? ''} of ${path}`;
    case 'type':
      return `${path} became a ${after ?? ''} (was a ${before ?? ''})`;
    case 'target':
      return `link ${path} leads to ${after ?? ''} (was ${before ?? ''})`;
    case 'xattrs':
      return `extended attributes of ${path} changed`;
  }
}

/** True for modes that another umask would make out of each other: the owner's bits agree. */
function byUmask(before = '', after = ''): boolean {
  const difference = parseInt(before, 8) ^ parseInt(after, 8);
  return difference !== 0 && (difference & ~0o077) === 0;
}

function variableText({
  instruction,
  name,
  before,
  after,
  line,
  unused,
  unnamed,
}: VariableCause): string {
  const details = [
    ...(line === undefined ? [] : [`declared on line ${line}`]),
    ...(unused === true ? ['used by no later RUN'] : []),
    ...(unnamed === true && unused !== true ? ['not named in this RUN'] : []),
  ].join(', ');
  const suffix = details === '' ? '' : ` (${details})`;
  if (before === undefined) return `${instruction} ${name} is new${suffix}`;
  if (after === undefined) return `${instruction} ${name} is gone`;
  return instruction === 'ENV'
    ? `ENV ${name} changed`
    : `ARG ${name} ${cut(before)}→${cut(after)}${suffix}`;
}

function baseText(
  before: { readonly name: string; readonly digest: string },
  after: { readonly name: string; readonly digest: string },
): string {
  return before.name === after.name
    ? `base image moved ${shortHash(before.digest)}→${shortHash(after.digest).replace('sha256:', '')}`
    : `base image ${before.name}→${after.name}`;
}

function settingText(name: string, before: string | undefined, after: string | undefined): string {
  if (before === undefined && after === undefined) return `${name} changed`;
  return `${name} ${cut(before ?? '(none)')}→${cut(after ?? '(none)')}`;
}

function shortHash(hash: string): string {
  return hash.startsWith('sha256:')
    ? hash.slice(0, 'sha256:'.length + DIGEST_SHOWN)
    : hash.slice(0, DIGEST_SHOWN);
}

/** A piece of a long instruction in which it differs from the other. */
function aroundChange(text: string, other: string): string {
  let same = 0;
  while (same < text.length && text[same] === other[same]) same++;
  const from =
    text.length <= MAX_INSTRUCTION || same <= MAX_INSTRUCTION - SEEN_AFTER
      ? 0
      : text.lastIndexOf(' ', same - SEEN_BEFORE) + 1;
  return from === 0 ? cut(text, MAX_INSTRUCTION) : `…${cut(text.slice(from), MAX_INSTRUCTION - 1)}`;
}

function cut(text: string, length = MAX_VALUE): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

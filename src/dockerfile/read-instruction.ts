import { MbuildError } from '../diagnostics/error';
import { suggest } from '../diagnostics/suggest';
import { checkFlags, healthcheckOptions, networkMode, securityMode } from './flags';
import { readHead } from './head';
import { parseHeredocMark } from './heredoc';
import type {
  CommandLine,
  Instruction,
  InstructionBase,
  InstructionOf,
  Keyword,
} from './instruction';
import { readDevices } from './device';
import { checkMount } from './mount';
import { isSpace, trim, trimStart } from './whitespace';
import { readJsonWords, readPairs, splitBlanks, splitQuoted } from './words';

/** An instruction whose keyword and flags are known, and whose arguments are still text. */
export interface InstructionText {
  readonly keyword: Keyword;
  /** Everything behind the flags, trimmed. */
  readonly text: string;
  readonly escape: '\\' | '`';
  readonly base: InstructionBase;
}

/** Takes what is wrong with an instruction; without a range it concerns all of it. */
export type Report = (problem: MbuildError) => void;

type Reader<K extends Keyword> = (
  source: InstructionText,
  report: Report,
) => InstructionOf<K> | undefined;

const STAGE_NAME = /^[a-z][a-z0-9_.-]*$/i;

const READERS: { readonly [K in Keyword]: Reader<K> } = {
  FROM: readFrom,
  RUN: readRun,
  CMD: (source, report) => readCommand(source, 'CMD', report),
  ENTRYPOINT: (source, report) => readCommand(source, 'ENTRYPOINT', report),
  COPY: (source, report) => readCopy(source, 'COPY', report),
  ADD: (source, report) => readCopy(source, 'ADD', report),
  ENV: (source, report) => readNamed(source, 'ENV', report),
  LABEL: (source, report) => readNamed(source, 'LABEL', report),
  ARG: readArg,
  EXPOSE: readExpose,
  VOLUME: readVolume,
  WORKDIR: (source, report) => readValue(source, 'WORKDIR', report),
  USER: (source, report) => readValue(source, 'USER', report),
  STOPSIGNAL: (source, report) => readValue(source, 'STOPSIGNAL', report),
  MAINTAINER: (source, report) => readValue(source, 'MAINTAINER', report),
  SHELL: readShell,
  HEALTHCHECK: readHealthcheck,
  // A trigger is read by whoever knows where it stands; this is ONBUILD with nothing behind it.
  ONBUILD: (_source, report) =>
    fail(
      report,
      'ONBUILD has no instruction',
      'write the instruction to run in builds from this image',
    ),
};

/** The keyword of a word, whatever its case; else what to say about it. */
export function keywordOf(
  word: string,
): Keyword | { readonly message: string; readonly hint: string | undefined } {
  const upper = word.toUpperCase();
  if (isKeyword(upper)) return upper;
  if (word === '') return { message: 'a line is continued, but nothing follows', hint: undefined };
  const near = suggest(word, Object.keys(READERS));
  const shown = word.length > 60 ? `${word.slice(0, 60)}…` : word;
  return {
    message: `unknown instruction "${shown}"`,
    hint: near === undefined ? 'to continue a line, end it with \\' : `did you mean "${near}"?`,
  };
}

/**
 * True when the instruction may announce heredocs: RUN, COPY and ADD that are not in JSON form,
 * under ONBUILD as well. `keywords` as for {@link readHead}.
 */
export function takesHeredocs(text: string, keywords: Map<string, string>): boolean {
  if (!text.includes('<<')) return false;
  const head = readHead(text, keywords);
  const rest = trim(text.slice(head.end));
  const keyword = head.keyword.toUpperCase();
  if (keyword === 'ONBUILD') return !/^ONBUILD\b/i.test(rest) && takesHeredocs(rest, keywords);
  return (
    (keyword === 'RUN' || keyword === 'COPY' || keyword === 'ADD') &&
    readJsonWords(rest).form !== 'strings'
  );
}

/**
 * Reads the arguments. What is wrong goes to `report`; the result counts only when nothing was
 * reported.
 */
export function readInstruction(source: InstructionText, report: Report): Instruction | undefined {
  // HEALTHCHECK NONE takes no arguments, and BuildKit does not look at its flags either.
  if (!(source.keyword === 'HEALTHCHECK' && source.text.toUpperCase() === 'NONE'))
    checkFlags(source.keyword, source.base.flags).forEach(report);
  return READERS[source.keyword](source, report);
}

function readFrom(
  { text, base }: InstructionText,
  report: Report,
): InstructionOf<'FROM'> | undefined {
  const [image, as, name, ...more] = splitBlanks(text);
  if (image === undefined)
    return fail(report, 'FROM has no image', 'write the image to start from, or FROM scratch');
  if (as === undefined) return { ...base, keyword: 'FROM', image };
  if (name === undefined || more.length > 0 || as.toUpperCase() !== 'AS') {
    return fail(
      report,
      'FROM takes an image, or an image and AS with a name',
      `write FROM ${image} AS name`,
    );
  }
  if (!STAGE_NAME.test(name))
    return fail(
      report,
      `"${name}" is not a valid stage name`,
      'a name begins with a letter and holds letters, digits, "-", "_" and "."',
    );
  return { ...base, keyword: 'FROM', image, as: name };
}

function readRun(source: InstructionText, report: Report): InstructionOf<'RUN'> | undefined {
  const { flags } = source.base;
  if (flags.length > 0) {
    attempt(report, () => networkMode(flags));
    attempt(report, () => securityMode(flags));
    attempt(report, () => readDevices(flags));
  }
  for (const flag of flags)
    if (flag.name === 'mount' && flag.value !== undefined) checkMount(flag).forEach(report);
  const command = readCommandLine(source.text, report);
  if (command?.form === 'exec' && command.args.length === 0)
    return fail(report, 'RUN [] has nothing to run');
  return command && { ...source.base, keyword: 'RUN', command };
}

function readCommand<K extends 'CMD' | 'ENTRYPOINT'>(
  source: InstructionText,
  keyword: K,
  report: Report,
) {
  const command = readCommandLine(source.text, report);
  return command && { ...source.base, keyword, command };
}

/**
 * A JSON array of strings, or a line for the shell: whatever is not quite JSON is that, brackets
 * and all.
 */
function readCommandLine(text: string, report: Report): CommandLine | undefined {
  const json = readJsonWords(text);
  if (json.form === 'not-strings') return failJson(report);
  return json.form === 'strings'
    ? { form: 'exec', args: json.words }
    : { form: 'shell', line: text };
}

function readCopy<K extends 'COPY' | 'ADD'>(source: InstructionText, keyword: K, report: Report) {
  const paths = readList(source.text, report);
  if (paths === undefined) return undefined;
  const target = paths.at(-1);
  if (target === undefined || paths.length < 2) {
    return fail(
      report,
      `${keyword} needs a source and a destination`,
      `write ${keyword} source… destination`,
    );
  }
  if (parseHeredocMark(target) !== undefined)
    return fail(
      report,
      `${keyword} cannot have a heredoc as its destination`,
      'write the destination path after it',
    );
  return { ...source.base, keyword, paths };
}

function readNamed<K extends 'ENV' | 'LABEL'>(source: InstructionText, keyword: K, report: Report) {
  const pairs = readPairs(source.text, source.escape);
  if (!('kind' in pairs)) {
    if (pairs.length === 0)
      return fail(report, `${keyword} has no name and value`, `write ${keyword} name=value`);
    return { ...source.base, keyword, pairs };
  }
  switch (pairs.kind) {
    case 'no-value':
      return fail(
        report,
        `${keyword} ${source.text} has no value`,
        `write ${keyword} ${source.text}=value`,
      );
    case 'no-equals':
      return fail(
        report,
        `"${pairs.word}" in ${keyword} is not name=value`,
        'a value with spaces needs quotes: name="a b"',
      );
    case 'no-name':
      return fail(report, `${keyword} has a value without a name`, `write ${keyword} name=value`);
  }
}

function readArg(
  { text, escape, base }: InstructionText,
  report: Report,
): InstructionOf<'ARG'> | undefined {
  const words = splitQuoted(text, escape);
  if (words.length === 0)
    return fail(report, 'ARG has no name', 'write ARG name or ARG name=default');
  if (words.some((word) => word.startsWith('=')))
    return fail(report, 'ARG has a value without a name', 'write ARG name=default');
  const args = words.map((word) => {
    const equals = word.indexOf('=');
    return equals === -1
      ? { name: word }
      : { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { ...base, keyword: 'ARG', args };
}

function readExpose(
  { text, base }: InstructionText,
  report: Report,
): InstructionOf<'EXPOSE'> | undefined {
  const words = splitBlanks(text);
  if (words.length === 0)
    return fail(report, 'EXPOSE has no port', 'write EXPOSE 80 or EXPOSE 53/udp');
  return { ...base, keyword: 'EXPOSE', words };
}

function readVolume(
  { text, base }: InstructionText,
  report: Report,
): InstructionOf<'VOLUME'> | undefined {
  const words = readList(text, report)?.map(trim);
  if (words === undefined) return undefined;
  if (words.length === 0) return fail(report, 'VOLUME has no path', 'write VOLUME /path');
  if (words.includes('')) return fail(report, 'VOLUME has an empty path');
  return { ...base, keyword: 'VOLUME', words };
}

function readValue<K extends 'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER'>(
  { text, base }: InstructionText,
  keyword: K,
  report: Report,
) {
  return text === ''
    ? fail(report, `${keyword} has no argument`, `write ${keyword} and a value`)
    : { ...base, keyword, value: text };
}

function readShell(
  { text, base }: InstructionText,
  report: Report,
): InstructionOf<'SHELL'> | undefined {
  const json = readJsonWords(text);
  if (json.form === 'not-strings') return failJson(report);
  if (json.form === 'none' || json.words.length === 0) {
    return fail(report, 'SHELL needs a JSON array', 'write e.g. SHELL ["/bin/bash", "-c"]');
  }
  return { ...base, keyword: 'SHELL', args: json.words };
}

function readHealthcheck(
  source: InstructionText,
  report: Report,
): InstructionOf<'HEALTHCHECK'> | undefined {
  const { type, rest } = splitHealthcheck(source.text);
  const hint = 'write HEALTHCHECK CMD and a command, or HEALTHCHECK NONE';
  if (type === '') return fail(report, 'HEALTHCHECK has no command', hint);
  if (type.toUpperCase() === 'NONE') {
    return rest === ''
      ? { ...source.base, keyword: 'HEALTHCHECK', command: 'NONE' }
      : fail(report, 'HEALTHCHECK NONE takes no arguments');
  }
  if (type.toUpperCase() !== 'CMD')
    return fail(report, `HEALTHCHECK has CMD and NONE, not "${type}"`, hint);
  const command = readCommandLine(rest, report);
  attempt(report, () => healthcheckOptions(source.base.flags));
  if (command === undefined) return undefined;
  if (command.form === 'exec' ? command.args.length === 0 : command.line === '')
    return fail(report, 'HEALTHCHECK CMD has no command', hint);
  return { ...source.base, keyword: 'HEALTHCHECK', command };
}

/** The type of a HEALTHCHECK as written, and what stands behind it. */
export function splitHealthcheck(text: string): { type: string; rest: string } {
  let end = 0;
  while (end < text.length && !isSpace(text.charAt(end))) end++;
  return { type: text.slice(0, end), rest: trimStart(text.slice(end)) };
}

/** A JSON array of strings, else words between blanks. */
function readList(text: string, report: Report): readonly string[] | undefined {
  const json = readJsonWords(text);
  if (json.form === 'not-strings') return failJson(report);
  return json.form === 'strings' ? json.words : splitBlanks(text);
}

function failJson(report: Report): undefined {
  return fail(
    report,
    'a JSON array here may only hold strings',
    'put every element in double quotes',
  );
}

function fail(report: Report, message: string, hint?: string): undefined {
  report(new MbuildError('DOCKERFILE_SYNTAX', message, { hint }));
  return undefined;
}

function attempt(report: Report, read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof MbuildError)) throw error;
    report(error);
  }
}

function isKeyword(word: string): word is Keyword {
  return Object.hasOwn(READERS, word);
}

import { errorOfDiagnostics } from '../diagnostics/error';
import type { Diagnostic, ErrorCode, MbuildError } from '../diagnostics/error';
import type { SourceFile, SourceRange } from '../diagnostics/range';
import { chompHeredoc, heredocMarks } from './heredoc';
import { readDirective, readHead } from './head';
import type {
  Directives,
  Dockerfile,
  Flag,
  Heredoc,
  Instruction,
  InstructionOf,
  Stage,
} from './instruction';
import { keywordOf, readInstruction, takesHeredocs } from './read-instruction';
import type { InstructionText } from './read-instruction';
import { SourceReader, skipSpace, withoutLineEnd } from './statements';
import type { Statement } from './statements';
import { trim } from './whitespace';

/** What {@link parseInstructions} finds in a file. */
export interface ParsedInstructions {
  readonly directives: Directives;
  /** Those that could be read, in order. */
  readonly instructions: readonly Instruction[];
  /** Everything that is wrong with the others, and warnings, in order. */
  readonly diagnostics: readonly Diagnostic[];
}

const DEFAULT_DIRECTIVES: Directives = { escape: '\\' };
const ONBUILD = /^\s*ONBUILD\s*/i;

/**
 * Parses a Dockerfile as BuildKit's Dockerfile 1.26 does
 * (https://docs.docker.com/reference/dockerfile/), except that it goes on behind an error. Nothing
 * is expanded, and stages that are named are not looked for.
 * @throws {MbuildError} with everything that is wrong with the file, errors first:
 * DOCKERFILE_EMPTY, DOCKERFILE_SYNTAX, DOCKERFILE_SEMANTIC, UNKNOWN_INSTRUCTION, UNKNOWN_FLAG.
 */
export function parseDockerfile(file: SourceFile): Dockerfile {
  const { directives, instructions, diagnostics } = parseInstructions(file);
  const { globalArgs, stages, problems } = toStages(file, instructions, diagnostics.some(isError));
  const errors = [...diagnostics.filter(isError), ...problems];
  if (errors.length > 0)
    throw errorOfDiagnostics([
      ...errors,
      ...diagnostics.filter((diagnostic) => !isError(diagnostic)),
    ]);
  return { file, directives, globalArgs, stages };
}

/**
 * Reads all instructions of a file, whatever stands between them; see {@link parseDockerfile}.
 * Never throws.
 */
export function parseInstructions(file: SourceFile): ParsedInstructions {
  const diagnostics: Diagnostic[] = [];
  const reader = new SourceReader(file);
  const directives = readDirectives(file, reader, diagnostics);
  const instructions: Instruction[] = [];
  const { escape } = directives;
  const parsing: Parsing = { file, reader, escape, keywords: new Map(), diagnostics };
  let statements = 0;
  for (
    let statement = reader.readStatement(directives.escape);
    statement !== undefined;
    statement = reader.readStatement(directives.escape)
  ) {
    statements++;
    const instruction = new StatementParser(statement, parsing).parse();
    if (instruction !== undefined) instructions.push(instruction);
  }
  if (statements === 0) {
    const start = { line: 1, column: 1 };
    const hint = 'a Dockerfile begins with FROM and the image to start from';
    diagnostics.push({
      severity: 'error',
      code: 'DOCKERFILE_EMPTY',
      message: `${file.name} holds no instructions`,
      file,
      range: { start, end: start },
      hint,
    });
  }
  return { directives, instructions, diagnostics: diagnostics.toSorted(byPlace) };
}

/**
 * Parses one trigger of an image's config (`OnBuild`), heredocs included.
 * @throws {MbuildError} as {@link parseDockerfile}; DOCKERFILE_SEMANTIC when it is not one
 * instruction, or none that a trigger may be.
 */
export function parseTrigger(text: string): Instruction {
  const file: SourceFile = { name: 'ONBUILD trigger', text };
  const { instructions, diagnostics } = parseInstructions(file);
  const errors = diagnostics.filter(isError);
  if (errors.length > 0) throw errorOfDiagnostics(errors);
  const [instruction, second] = instructions;
  if (instruction === undefined || second !== undefined)
    throw errorOfDiagnostics([
      semantic(file, 'an ONBUILD trigger is one instruction', second?.range),
    ]);
  if (
    instruction.keyword === 'FROM' ||
    instruction.keyword === 'ONBUILD' ||
    instruction.keyword === 'MAINTAINER'
  ) {
    throw errorOfDiagnostics([
      semantic(file, `${instruction.keyword} cannot be an ONBUILD trigger`, instruction.range),
    ]);
  }
  return instruction;
}

/** The parser directives: the first lines, as long as each is a known one. */
function readDirectives(
  file: SourceFile,
  reader: SourceReader,
  diagnostics: Diagnostic[],
): Directives {
  let directives = DEFAULT_DIRECTIVES;
  const seen = new Set<string>();
  let isBehindInterpreter = false;
  for (
    let line = reader.peek();
    line !== undefined && trim(line).startsWith('#');
    line = reader.peek()
  ) {
    const number = reader.line;
    const directive = readDirective(line);
    const isInterpreter = number === 1 && line.startsWith('#!');
    if (directive === undefined && !isInterpreter) return directives;
    reader.readRaw();
    isBehindInterpreter ||= isInterpreter;
    // A `#!` line may come before the others, but hides `escape` from BuildKit's parser.
    if (directive === undefined || (isBehindInterpreter && directive.name === 'escape')) continue;
    const { name, value } = directive;
    const range = {
      start: { line: number, column: 1 },
      end: { line: number, column: line.length + 1 },
    };
    if (seen.has(name))
      diagnostics.push(syntax(file, `the directive "${name}" is given twice`, range, 'keep one'));
    else if (name !== 'escape') directives = { ...directives, [name]: value };
    else if (value === '\\' || value === '`') directives = { ...directives, escape: value };
    else
      diagnostics.push(
        syntax(file, `the escape character cannot be "${value}"`, range, 'it is \\ or `'),
      );
    seen.add(name);
  }
  return directives;
}

/** A file that is being parsed. */
interface Parsing {
  readonly file: SourceFile;
  readonly reader: SourceReader;
  readonly escape: Directives['escape'];
  /** As {@link readHead} has them. */
  readonly keywords: Map<string, string>;
  /** What was found so far: more is added. */
  readonly diagnostics: Diagnostic[];
}

/** Parses one statement, and takes the bodies of its heredocs from the reader. */
class StatementParser {
  constructor(
    private readonly statement: Statement,
    private readonly parsing: Parsing,
  ) {}

  parse(): Instruction | undefined {
    const { statement } = this;
    for (const line of statement.emptyLines) {
      const range = { start: { line, column: 1 }, end: { line, column: 1 } };
      const message = 'a continued instruction has an empty line in it';
      this.parsing.diagnostics.push({
        severity: 'warning',
        code: 'NoEmptyContinuation',
        message,
        file: this.parsing.file,
        range,
        hint: 'remove it, or begin it with #',
      });
    }
    const heredocs = takesHeredocs(statement.text, this.parsing.keywords)
      ? this.readHeredocs()
      : [];
    if (heredocs === undefined) return undefined;
    return this.parseAt(0, heredocs, []);
  }

  /** The bodies of the heredocs that the statement announces; `undefined` when one does not end. */
  private readHeredocs(): Heredoc[] | undefined {
    const heredocs: Heredoc[] = [];
    for (const mark of heredocMarks(this.statement.text)) {
      const lines: string[] = [];
      for (let line = this.parsing.reader.readRaw(); ; line = this.parsing.reader.readRaw()) {
        if (line === undefined) {
          const hint = `put ${mark.name} on its own line after the text; a "<<" for the shell must be quoted`;
          this.report(
            'DOCKERFILE_SYNTAX',
            this.wholeRange(),
            `the heredoc ${mark.name} does not end`,
            hint,
          );
          return undefined;
        }
        const end = withoutLineEnd(line);
        if ((mark.chomp ? end.replace(/^\t+/, '') : end) === mark.name) break;
        lines.push(line);
      }
      const raw = lines.join('');
      heredocs.push({ ...mark, raw, content: mark.chomp ? chompHeredoc(raw) : raw });
    }
    return heredocs;
  }

  /** Parses the instruction that begins at `offset`; `outer` are the keywords around it. */
  private parseAt(
    offset: number,
    heredocs: readonly Heredoc[],
    outer: readonly string[],
  ): Instruction | undefined {
    const text = this.statement.text.slice(offset);
    const head = readHead(text, this.parsing.keywords);
    const keywordRange = this.statement.rangeOf(offset, offset + head.keywordEnd);
    const keyword = keywordOf(head.keyword);
    if (typeof keyword !== 'string') {
      this.report('UNKNOWN_INSTRUCTION', keywordRange, keyword.message, keyword.hint);
      return undefined;
    }
    if (
      outer.length > 0 &&
      (keyword === 'ONBUILD' || keyword === 'FROM' || keyword === 'MAINTAINER')
    ) {
      const message =
        keyword === 'ONBUILD'
          ? 'ONBUILD cannot be chained'
          : `${keyword} cannot be an ONBUILD trigger`;
      this.report('DOCKERFILE_SEMANTIC', keywordRange, message);
      return undefined;
    }
    const flags: Flag[] = head.flags.map(({ name, value, start, end }) => ({
      name,
      value,
      range: this.statement.rangeOf(offset + start, offset + end),
    }));
    const source: InstructionText = {
      keyword,
      text: trim(text.slice(head.end)),
      escape: this.parsing.escape,
      base: {
        flags,
        heredocs,
        range: { start: keywordRange.start, end: this.wholeRange().end },
        original: trim(text),
      },
    };
    const before = this.parsing.diagnostics.length;
    const report = (problem: MbuildError): void =>
      this.report(problem.code, problem.range ?? source.base.range, problem.message, problem.hint);
    const instruction =
      keyword === 'ONBUILD' && source.text !== ''
        ? this.parseOnbuild(offset + head.end, source)
        : readInstruction(source, report);
    // A flag that is not known leaves the rest readable: editors get it, builds end with the error.
    return this.parsing.diagnostics
      .slice(before)
      .some((diagnostic) => isError(diagnostic) && diagnostic.code !== 'UNKNOWN_FLAG')
      ? undefined
      : instruction;
  }

  private parseOnbuild(offset: number, source: InstructionText): Instruction | undefined {
    for (const flag of source.base.flags)
      this.report(
        'UNKNOWN_FLAG',
        flag.range,
        `unknown flag --${flag.name} of ONBUILD`,
        'write the flags of the trigger after its keyword',
      );
    const child = this.parseAt(skipSpace(this.statement.text, offset), source.base.heredocs, [
      'ONBUILD',
    ]);
    if (child === undefined) return undefined;
    const bodies = source.base.heredocs.map(({ raw, name }) => `\n${raw}${name}`);
    const trigger = this.statement.text.replace(ONBUILD, '') + bodies.join('');
    return { ...source.base, keyword: 'ONBUILD', child, trigger };
  }

  /** From the first character to the end of the last line that was read. */
  private wholeRange(): SourceRange {
    const { start } = this.statement.rangeOf(0, this.statement.text.length);
    return { start, end: this.parsing.reader.lastLineEnd };
  }

  private report(code: ErrorCode, range: SourceRange, message: string, hint?: string): void {
    this.parsing.diagnostics.push({
      severity: 'error',
      code,
      message,
      file: this.parsing.file,
      range,
      hint,
    });
  }
}

/**
 * Instructions become stages. When there are errors already, what may only follow from them is not
 * reported.
 */
function toStages(file: SourceFile, instructions: readonly Instruction[], hasErrors: boolean) {
  const globalArgs: InstructionOf<'ARG'>[] = [];
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  const problems: Diagnostic[] = [];
  for (const instruction of instructions) {
    const stage = stages.at(-1);
    if (instruction.keyword === 'FROM') {
      stages.push({
        index: stages.length,
        from: instruction,
        name: instruction.as?.toLowerCase(),
        instructions: [],
      });
    } else if (stage !== undefined) {
      stage.instructions.push(instruction);
    } else if (instruction.keyword === 'ARG') {
      globalArgs.push(instruction);
    } else if (!hasErrors && problems.length === 0) {
      const hint = 'begin with FROM and the image to start from; only ARG may come before FROM';
      problems.push(
        semantic(
          file,
          `${instruction.keyword} comes before the first FROM`,
          instruction.range,
          hint,
        ),
      );
    }
  }
  if (stages.length === 0 && !hasErrors && problems.length === 0) {
    problems.push(
      semantic(
        file,
        `${file.name} has no FROM`,
        instructions[0]?.range,
        'add FROM and the image to start from, or FROM scratch',
      ),
    );
  }
  return { globalArgs, stages, problems };
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  const [first, second] = [a.range?.start, b.range?.start];
  return (first?.line ?? 0) - (second?.line ?? 0) || (first?.column ?? 0) - (second?.column ?? 0);
}

function isError(diagnostic: Diagnostic): boolean {
  return diagnostic.severity === 'error';
}

function syntax(file: SourceFile, message: string, range: SourceRange, hint?: string): Diagnostic {
  return { severity: 'error', code: 'DOCKERFILE_SYNTAX', message, file, range, hint };
}

function semantic(
  file: SourceFile,
  message: string,
  range: SourceRange | undefined,
  hint?: string,
): Diagnostic {
  return { severity: 'error', code: 'DOCKERFILE_SEMANTIC', message, file, range, hint };
}

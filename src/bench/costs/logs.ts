import { MbuildError } from '../../diagnostics/error';

/** Seconds by instruction, as its log shows it. */
export type Durations = ReadonlyMap<string, number>;

/** A step of a log: its instruction, and how long it ran. Steps that were cached are not in it. */
interface TimedStep {
  readonly text: string;
  readonly seconds: number;
}

interface LogForm {
  readonly name: string;
  /** The steps that it finds; none where the text has another form. */
  readonly read: (lines: readonly LogLine[]) => readonly TimedStep[];
}

interface LogLine {
  readonly text: string;
  /** Seconds since the epoch, where the line begins with a time, as logs of CI jobs do. */
  readonly time: number | undefined;
}

/** GitHub's job logs, `kubectl logs --timestamps`, GitLab's with FF_TIMESTAMPS. */
const TIME = /^(?:\ufeff)?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ?(?:\d\d[EO]\+? ?)?/;
// oxlint-disable-next-line no-control-regex -- terminals' sequences begin with one
const ANSI = /\u001b\[[0-9;?]*[A-Za-z]/g;
const INSTRUCTION = /^(?:RUN|COPY|ADD|WORKDIR)\b/;

const FORMS: readonly LogForm[] = [
  { name: 'BuildKit, --progress=rawjson', read: readRawJson },
  { name: 'BuildKit, --progress=plain', read: readPlain },
  { name: 'kaniko', read: readKaniko },
  { name: 'buildah or podman, with times', read: readBuildah },
];

/**
 * Reads a file of durations (`{"RUN npm ci": 12.5}`), or a log of builds: several of one instruction are one, their median.
 * @throws MbuildError USAGE for a text of no known form.
 */
export function readDurations(text: string, file: string): Durations {
  const given = readMap(text);
  if (given !== undefined) return given;
  const lines = text.split(/\r?\n/).map(readLine);
  for (const { read } of FORMS) {
    const steps = read(lines);
    if (steps.length > 0) return medians(steps);
  }
  throw new MbuildError('USAGE', `${file} has no durations of instructions`, {
    hint: `it is {"RUN npm ci": 12.5}, or a log of ${FORMS.map(({ name }) => name).join('; ')}`,
  });
}

function readMap(text: string): Durations | undefined {
  if (!/^\s*\{/.test(text)) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    const pairs = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    return pairs.length > 0 &&
      pairs.every((pair): pair is [string, number] => typeof pair[1] === 'number')
      ? new Map(pairs)
      : undefined;
  } catch {
    return undefined; // lines of JSON are another form
  }
}

function readLine(line: string): LogLine {
  const plain = line.replace(ANSI, '');
  const [prefix, time] = TIME.exec(plain) ?? [];
  return prefix === undefined || time === undefined
    ? { text: plain, time: undefined }
    : { text: plain.slice(prefix.length), time: Date.parse(time) / 1000 };
}

/** The median of each instruction. */
export function medians(steps: readonly TimedStep[]): Durations {
  const found = new Map<string, number[]>();
  for (const { text, seconds } of steps) {
    const name = text.replace(/\s+/g, ' ').trim();
    if (INSTRUCTION.test(name) && seconds >= 0)
      found.set(name, [...(found.get(name) ?? []), seconds]);
  }
  return new Map(
    [...found].map(([name, all]) => {
      const sorted = all.toSorted((a, b) => a - b);
      return [name, Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 1000) / 1000];
    }),
  );
}

/** A row of BuildKit: `[build 2/4] RUN make`. */
export function instructionOf(name: string): string | undefined {
  return /^\[[^\]]*\d+\/\d+\] (.*)$/s.exec(name)?.[1];
}

/** What of a vertex is read. */
export interface StatusVertex {
  readonly name: string;
  readonly cached: boolean;
  /** Seconds since the epoch. */
  readonly started: number | undefined;
  readonly completed: number | undefined;
}

/** The steps among vertexes: those that ran. */
export function stepsOfVertexes(vertexes: readonly StatusVertex[]): TimedStep[] {
  return vertexes.flatMap(({ name, cached, started, completed }): TimedStep[] => {
    const text = instructionOf(name);
    return text === undefined || cached || started === undefined || completed === undefined
      ? []
      : [{ text, seconds: completed - started }];
  });
}

/** A SolveStatus a line (moby/buildkit, client/graph.go). */
function readRawJson(lines: readonly LogLine[]): TimedStep[] {
  const vertexes = lines.flatMap(({ text }): StatusVertex[] => {
    if (!text.startsWith('{')) return [];
    try {
      const { vertexes: some } = JSON.parse(text) as { readonly vertexes?: unknown };
      return Array.isArray(some) ? some.flatMap((vertex) => readVertex(vertex)) : [];
    } catch {
      return [];
    }
  });
  return stepsOfVertexes(vertexes);
}

function readVertex(value: unknown): StatusVertex[] {
  if (typeof value !== 'object' || value === null) return [];
  const { name, cached, started, completed } = value as Readonly<Record<string, unknown>>;
  const time = (text: unknown): number | undefined =>
    typeof text === 'string' && !Number.isNaN(Date.parse(text))
      ? Date.parse(text) / 1000
      : undefined;
  return typeof name === 'string'
    ? [{ name, cached: cached === true, started: time(started), completed: time(completed) }]
    : [];
}

/** `#5 [2/4] RUN make`, later `#5 DONE 1.2s`. */
function readPlain(lines: readonly LogLine[]): TimedStep[] {
  const names = new Map<string, string>();
  return lines.flatMap(({ text }): TimedStep[] => {
    const [, id = '', rest = ''] = /^#(\d+) (.*)$/.exec(text) ?? [];
    const instruction = instructionOf(rest);
    if (instruction !== undefined) names.set(id, instruction);
    const [, seconds] = /^DONE (\d+(?:\.\d+)?)s$/.exec(rest) ?? [];
    const name = names.get(id);
    return seconds === undefined || name === undefined
      ? []
      : [{ text: name, seconds: Number(seconds) }];
  });
}

/** `INFO[0012] RUN make`: seconds since kaniko began; a step lasts until the next line of that kind. */
function readKaniko(lines: readonly LogLine[]): TimedStep[] {
  const marks = lines.flatMap(({ text }) => {
    const [, at, rest] = /^(?:INFO|WARN)\[(\d+)\] (.*)$/.exec(text) ?? [];
    return at === undefined || rest === undefined ? [] : [{ at: Number(at), text: rest }];
  });
  const cached = new Set(
    marks.flatMap(({ text }) => /^Using caching version of cmd: (.*)$/.exec(text)?.[1] ?? []),
  );
  return between(marks, ({ text }) => (cached.has(text) ? undefined : text));
}

/** `STEP 3/7: RUN make`, which has no times of its own: those of the job's log are taken. */
function readBuildah(lines: readonly LogLine[]): TimedStep[] {
  const marks = lines.flatMap(({ text, time }) => (time === undefined ? [] : [{ at: time, text }]));
  const cached = new Set(
    marks.flatMap(({ text }, at) =>
      /--> Using cache/.test(text) ? (marks[at - 1]?.text ?? []) : [],
    ),
  );
  return between(marks, ({ text }) =>
    cached.has(text) ? undefined : /^(?:\[\d+\/\d+\] )?STEP \d+\/\d+: (.*)$/.exec(text)?.[1],
  );
}

interface Mark {
  readonly at: number;
  readonly text: string;
}

/** Each instruction lasts until the next one, or the last mark. */
function between(
  marks: readonly Mark[],
  instruction: (mark: Mark) => string | undefined,
): TimedStep[] {
  const isHead = ({ text }: Mark): boolean =>
    INSTRUCTION.test(text) || /^(?:\[\d+\/\d+\] )?STEP \d+\/\d+: /.test(text);
  return marks.flatMap((mark, at): TimedStep[] => {
    const text = isHead(mark) ? instruction(mark) : undefined;
    if (text === undefined || !INSTRUCTION.test(text)) return [];
    const next = marks.slice(at + 1).find(isHead) ?? marks.at(-1);
    return [{ text, seconds: (next?.at ?? mark.at) - mark.at }];
  });
}

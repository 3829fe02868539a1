import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { MbuildError } from '../../diagnostics/error';

/** What git says of an object that was asked for. */
export interface ObjectAnswer {
  readonly type: string;
  /** Bytes of its content. */
  readonly size: number;
  /** Absent where only the facts were asked for. */
  readonly content: Buffer | undefined;
}

/** Takes an answer; `undefined` for an object that is not here. What it throws goes to whoever asked. */
export type TakeObject = (id: string, answer: ObjectAnswer | undefined) => void;

/** Ids that are asked for together. */
interface Question {
  readonly ids: readonly string[];
  readonly take: TakeObject;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

const LINE_FEED = 0x0a;
/** How often git may end before all that is asked for counts as lacking: of a clone without files it lacks every one. */
const MOST_ENDS = { content: 50, facts: 3 } as const;

/** Whatever a partial clone lacks is an error, not a download: a replay asks nothing of the network. */
export const OFFLINE_GIT = ['-c', 'protocol.allow=never'] as const;

/**
 * `git cat-file`: ids in, objects or facts out, in order. The dialogue is why it is not run as other programs are.
 */
export class ObjectReader {
  #process: ChildProcessWithoutNullStreams;
  readonly #questions: Question[] = [];
  /** How many ids of the first question were answered. */
  #answered = 0;
  #pieces: Buffer[] = [];
  /** Bytes in them. */
  #length = 0;
  /** The answer whose content is being read. */
  #open: { readonly type: string; readonly size: number } | undefined;

  /** How often git ended over an object. */
  #ends = 0;
  #isClosed = false;

  /** @param mode `content`: whole objects; `facts`: type and size alone. */
  constructor(
    private readonly dir: string,
    private readonly mode: 'content' | 'facts',
  ) {
    this.#process = this.#start();
  }

  /** Asks for objects; each is handed to `take`, in order. @throws MbuildError EXEC_NOT_FOUND where there is no git. */
  ask(ids: readonly string[], take: TakeObject): Promise<void> {
    if (ids.length === 0) return Promise.resolve();
    if (this.#ends > MOST_ENDS[this.mode]) {
      for (const id of ids) take(id, undefined);
      return Promise.resolve();
    }
    return new Promise((done, fail) => {
      this.#questions.push({ ids, take, done, fail });
      this.#process.stdin.write(`${ids.join('\n')}\n`);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#process.stdin.end();
  }

  #start(): ChildProcessWithoutNullStreams {
    const batch = this.mode === 'content' ? '--batch' : '--batch-check';
    const started = spawn('git', ['-C', this.dir, ...OFFLINE_GIT, 'cat-file', batch], {
      stdio: 'pipe',
      env: { ...process.env, GIT_NO_LAZY_FETCH: '1' },
    });
    started.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    started.stderr.resume();
    started.on('error', (error) => this.#fail(error));
    started.on('close', () => this.#ended());
    started.stdin.on('error', () => undefined); // its end is told by `close`
    return started;
  }

  #fail(cause: Error): void {
    for (const { fail } of this.#questions.splice(0))
      fail(new MbuildError('EXEC_NOT_FOUND', `cannot run git: ${cause.message}`, { cause }));
  }

  /** In a partial clone git up to 2.44 ends where an object is lacking that may not be fetched: it begins again behind that one. */
  #ended(): void {
    if (this.#isClosed || this.#questions.length === 0) return;
    this.#ends++;
    this.#open = undefined;
    this.#keep(Buffer.alloc(0));
    this.#process = this.#start();
    this.#hand(undefined);
    const open = this.#questions.flatMap(({ ids }, at) =>
      at === 0 ? ids.slice(this.#answered) : ids,
    );
    if (this.#ends <= MOST_ENDS[this.mode]) {
      if (open.length > 0) this.#process.stdin.write(`${open.join('\n')}\n`);
    } else while (this.#questions.length > 0) this.#hand(undefined);
  }

  #take(chunk: Buffer): void {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    // A large object is put together once, when all of it is there.
    while (this.#length > (this.#open?.size ?? 0) && this.#answer(this.#joined()));
  }

  /** Takes one answer, or the line before one, off the front. False when it is not whole yet. */
  #answer(bytes: Buffer): boolean {
    if (this.#open !== undefined) {
      const { type, size } = this.#open;
      this.#open = undefined;
      this.#keep(bytes.subarray(size + 1)); // a line feed ends each
      this.#hand({ type, size, content: bytes.subarray(0, size) });
      return true;
    }
    const end = bytes.indexOf(LINE_FEED);
    if (end < 0) return false;
    this.#keep(bytes.subarray(end + 1));
    // `<id> <type> <size>`, or `<id> missing`.
    const [, type = '', digits] = bytes.toString('latin1', 0, end).split(' ');
    const size = Number(digits);
    if (digits === undefined) this.#hand(undefined);
    else if (this.mode === 'content') this.#open = { type, size };
    else this.#hand({ type, size, content: undefined });
    return true;
  }

  #joined(): Buffer {
    const [first] = this.#pieces;
    const bytes =
      this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.#pieces = [bytes];
    return bytes;
  }

  #keep(rest: Buffer): void {
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
  }

  #hand(answer: ObjectAnswer | undefined): void {
    const [question] = this.#questions;
    if (question === undefined) return;
    try {
      question.take(question.ids[this.#answered++] ?? '', answer);
    } catch (error) {
      question.fail(error); // the answers that follow are taken all the same
    }
    if (this.#answered < question.ids.length) return;
    this.#answered = 0;
    this.#questions.shift();
    question.done();
  }
}

import { deserialize, serialize } from 'node:v8';
import type { Diagnostic, ErrorCode } from '../diagnostics/error';
import type { SourceFile, SourceRange } from '../diagnostics/range';
import type { BuildEvent } from '../progress/events';

/**
 * What an embedding program and its session (the process that works on the store) tell each other,
 * over the session's standard input and output. A message is its length in bytes, 32 bits
 * little-endian, then V8's serialization of it.
 */
export type ToSession =
  | {
      readonly kind: 'call';
      readonly id: number;
      /** The words of a command line: the command's name, then flags and positionals. */
      readonly argv: readonly string[];
      /** What a command finds on its standard input. */
      readonly input?: Uint8Array | undefined;
    }
  | { readonly kind: 'cancel'; readonly id: number };

/** What a session answers. */
export type FromSession =
  /** The store can be used. */
  | { readonly kind: 'ready' }
  /** It can't, for this reason; the session ends. */
  | { readonly kind: 'refused'; readonly error: SentError }
  | { readonly kind: 'event'; readonly id: number; readonly event: BuildEvent }
  /** Something that a command line would print as `note: …`. */
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: SentError };

/** An MbuildError on its way between two processes. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly file?: SourceFile | undefined;
  readonly range?: SourceRange | undefined;
  readonly exitCode?: number | undefined;
  readonly output?: string | undefined;
  readonly others: readonly Diagnostic[];
  /** Messages of the causes, outermost first. */
  readonly cause?: string | undefined;
}

/** Bytes before each message. */
const HEAD = 4;

/** A message as bytes. */
export function encodeFrame(message: ToSession | FromSession): Buffer {
  const body = serialize(message);
  const frame = Buffer.allocUnsafe(HEAD + body.length);
  frame.writeUInt32LE(body.length, 0);
  body.copy(frame, HEAD);
  return frame;
}

/** Takes bytes as they come and gives the messages that are complete. */
export class FrameReader<T extends ToSession | FromSession> {
  #chunks: Buffer[] = [];
  #length = 0;

  /** @returns the messages that end in this chunk, in order. */
  push(chunk: Buffer): T[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const messages: T[] = [];
    for (let body = this.#next(); body !== undefined; body = this.#next())
      messages.push(deserialize(body) as T);
    return messages;
  }

  #next(): Buffer | undefined {
    if (this.#length < HEAD) return undefined;
    const first = this.#chunks[0];
    // A large message comes in many chunks: they are joined once, when it is whole.
    const head =
      first !== undefined && first.length >= HEAD ? first : Buffer.concat(this.#chunks, HEAD);
    const end = HEAD + head.readUInt32LE(0);
    if (this.#length < end) return undefined;
    const bytes = Buffer.concat(this.#chunks, this.#length);
    this.#chunks = end < bytes.length ? [bytes.subarray(end)] : [];
    this.#length -= end;
    return bytes.subarray(HEAD, end);
  }
}

import { Readable } from 'node:stream';
import {
  FrameReader,
  encodeFrame,
  type FromSession,
  type SentError,
  type ToSession,
} from '../api/frames';
import { MbuildError, asForeseen, isMbuildError } from '../diagnostics/error';
import { errorToJson } from '../diagnostics/render';
import { parseArgs } from './args';
import { GLOBAL_FLAGS } from './command';
import { findCommand } from './commands';
import type { Host } from './host';
import { readCommandLine } from './read-command-line';
import { withServices } from './services';

type Call = Extract<ToSession, { kind: 'call' }>;
type Send = (message: FromSession) => void;

/** Milliseconds that a container has to end after a call was canceled. */
const GRACE = 10_000;

/**
 * Serves an embedding program until it closes standard input: each call is a command line whose
 * progress, result and error go back as messages. `argv` are global flags. Calls run side by side.
 * What is canceled, or left when the program is gone, stops and cleans up.
 */
export async function serveSession(argv: readonly string[], host: Host): Promise<number> {
  const { flags } = parseArgs(argv, GLOBAL_FLAGS, { command: 'mbuild session', env: host.env });
  await withServices(host, flags, () => undefined);
  const output = host.stdout();
  const send: Send = (message) => void output.write(encodeFrame(message));
  const calls = new Map<number, { readonly ended: Promise<void>; cancel(): void }>();
  const reader = new FrameReader<ToSession>();
  // The embedding program decides what Ctrl-C means; when it ends, standard input does.
  const release = host.takeSignals?.((signal) => {
    if (signal === 'SIGTERM') for (const call of calls.values()) call.cancel();
  });
  send({ kind: 'ready' });
  try {
    for await (const chunk of host.stdin())
      for (const message of reader.push(Buffer.from(chunk))) {
        if (message.kind === 'cancel') {
          calls.get(message.id)?.cancel();
          continue;
        }
        const { id } = message;
        const call = startCall(message, host, send);
        calls.set(id, call);
        void call.ended.then(() => calls.delete(id));
      }
  } finally {
    for (const call of calls.values()) call.cancel();
    await Promise.all([...calls.values()].map(({ ended }) => ended));
    release?.();
  }
  return 0;
}

/** A host whose errors go to the embedding program: what keeps the session from being served. */
export function refusingHost(host: Host): Host {
  return {
    ...host,
    failed: (error) => {
      host.stdout().write(encodeFrame({ kind: 'refused', error: toSent(error) }));
    },
  };
}

function startCall(call: Call, host: Host, send: Send) {
  const controller = new AbortController();
  let taker: ((signal: NodeJS.Signals) => void) | undefined;
  const cancel = (): void => {
    // A container is ended as a terminal would: it is asked, and killed when it does not listen.
    taker?.('SIGTERM');
    setTimeout(() => taker?.('SIGKILL'), GRACE).unref();
    controller.abort(new MbuildError('CANCELED', 'canceled by the caller'));
  };
  const takeSignals: Host['takeSignals'] = (given) => {
    taker = given;
    return () => {
      taker = undefined;
    };
  };
  const ended = runCall(call, { ...host, signal: controller.signal, takeSignals }, send);
  return { cancel, ended };
}

/** Runs one call as a command without a terminal. Never rejects. */
async function runCall({ id, argv, input }: Call, host: Host, send: Send): Promise<void> {
  let value: unknown;
  let failure: unknown;
  const silent = {
    isTTY: false,
    order: () => {},
    size: () => ({ columns: 80, rows: 24 }),
    drain: async () => {},
  };
  const quiet: Host = {
    ...host,
    out: { ...silent, write: () => {} },
    err: { ...silent, write: (text) => sendNotes(text, send) },
    stdin: () => Readable.from(input === undefined ? [] : [input]) as NodeJS.ReadStream,
    stdout: () => {
      throw new MbuildError('USAGE', 'the API cannot write to standard output', {
        hint: 'give a file',
      });
    },
    events: (event) => send({ kind: 'event', id, event }),
    output: (stream, data) =>
      send({ kind: 'event', id, event: { kind: 'log', id: 0, time: host.now(), stream, data } }),
    result: (given) => {
      value = given;
    },
    failed: (error) => {
      failure ??= error;
    },
  };
  try {
    await runWords(argv, quiet);
    if (failure !== undefined) throw failure;
    send({ kind: 'result', id, value });
  } catch (error) {
    const reason: unknown = host.signal.reason;
    send({
      kind: 'error',
      id,
      error: toSent(host.signal.aborted && !isMbuildError(error, 'CANCELED') ? reason : error),
    });
  }
}

/** What else is written for people, such as a summary, the caller has as a value. */
function sendNotes(text: string, send: Send): void {
  for (const line of text.split('\n'))
    if (line.startsWith('note: ')) send({ kind: 'note', text: line.slice('note: '.length) });
}

async function runWords(argv: readonly string[], host: Host): Promise<void> {
  const found = findCommand(argv);
  if (found === undefined)
    throw new MbuildError('USAGE', `unknown command: mbuild ${argv[0] ?? ''}`);
  const command = await found.entry.load();
  const args = readCommandLine(command, argv.slice(found.length), host.env);
  await command.run(args, host);
}

/** An error as it can be sent. */
function toSent(thrown: unknown): SentError {
  const error = asForeseen(thrown);
  const { cause } = errorToJson(error);
  if (!isMbuildError(error)) return { code: 'INTERNAL', message: String(error), others: [], cause };
  const { code, message, hint, file, range, exitCode, output, others } = error;
  return { code, message, hint, file, range, exitCode, output, others, cause };
}

import { isatty } from 'node:tty';
import { MbuildError } from '../diagnostics/error';
import { endProcess, isLibcLoaded } from '../linux/libc';
import type { Host } from './host';
import { FdOutput } from './output';
import { outerUid } from '../sandbox/namespaces/outer-user';
import { needsUserNamespace, runAsRoot } from './as-root';
import { FAILURE_CODE, runCli } from './run-cli';
import { showError } from './show-error';
import { watchSignals } from './signals';

/** The exit code that a shell shows for what SIGPIPE ended. */
const READER_GONE = 141;
/** The exit code after SIGHUP. */
const HUNG_UP = 129;

void main();

/**
 * Nothing is left to wait for, and the command is not done: a fault of mbuild, which must not look
 * like success.
 */
async function endUnfinished(host: Host, code = FAILURE_CODE): Promise<void> {
  await showError(
    new MbuildError(
      'INTERNAL',
      'the command stopped: it waits for something that can never happen',
    ),
    host,
  );
  await Promise.all([host.out.drain(), host.err.drain()]);
  process.exit(code);
}

/** Runs the command line of this process; what was printed is written before it ends. */
async function main(): Promise<void> {
  const watch = watchSignals(process);
  // What Node.js changed of a terminal or a pipe it changes back at an orderly end; and what it was
  // asked for itself (profiles, coverage) it writes then.
  let isOrderly =
    isatty(1) ||
    isatty(2) ||
    process.execArgv.length > 0 ||
    (process.env['NODE_V8_COVERAGE'] ?? '') !== '';
  const host: Host = {
    env: process.env,
    out: new FdOutput(1, () =>
      watch.abort('the program that reads the output has ended', READER_GONE),
    ),
    err: new FdOutput(2),
    stdin: () => {
      isOrderly = true;
      // Who waits for input waits no more.
      watch.signal.addEventListener('abort', () => process.stdin.destroy(), { once: true });
      return process.stdin;
    },
    stdout: () => {
      isOrderly = true;
      return process.stdout;
    },
    signal: watch.signal,
    takeSignals: watch.take,
    now: Date.now,
    uid: outerUid(process.env) ?? process.getuid?.() ?? -1,
    elsewhere: needsUserNamespace() ? (argv, where) => runAsRoot(argv, watch, where) : undefined,
  };
  process.once('beforeExit', () => void endUnfinished(host, watch.exitCode()));
  const code = await runCli(process.argv.slice(2), host);
  await Promise.all([host.out.drain(), host.err.drain()]);
  const last = watch.exitCode() ?? code;
  // Of a terminal that is gone nothing can be changed back, and Node.js aborts when it tries:
  // nodejs/node, src/node.cc, "ResetStdio".
  if (last === HUNG_UP || (!isOrderly && isLibcLoaded())) endProcess(last);
  process.exit(last);
}

import { closeSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import type { Host } from './host';
import { FdOutput } from './output';
import { outerUid } from '../sandbox/outer-user';
import { needsUserNamespace, runAsRoot } from './as-root';
import { runCli } from './run-cli';
import { watchSignals } from './signals';

/** The exit code that a shell shows for what SIGPIPE ended. */
const READER_GONE = 141;
/** The exit code after SIGHUP. */
const HUNG_UP = 129;

void main();

/** Runs the command line of this process; what was printed is written before it ends. */
async function main(): Promise<void> {
  const watch = watchSignals(process);
  const host: Host = {
    env: process.env,
    out: new FdOutput(1, () => watch.abort('the reader of the output is gone', READER_GONE)),
    err: new FdOutput(2),
    stdin: () => {
      // Who waits for input waits no more.
      watch.signal.addEventListener('abort', () => process.stdin.destroy(), { once: true });
      return process.stdin;
    },
    stdout: () => process.stdout,
    signal: watch.signal,
    takeSignals: watch.take,
    now: Date.now,
    uid: outerUid(process.env) ?? process.getuid?.() ?? -1,
    elsewhere: needsUserNamespace() ? (argv, where) => runAsRoot(argv, watch, where) : undefined,
  };
  const code = await runCli(process.argv.slice(2), host);
  await Promise.all([host.out.drain(), host.err.drain()]);
  if (watch.exitCode() === HUNG_UP) letGoOfTerminal();
  process.exit(watch.exitCode() ?? code);
}

/** Node.js aborts at its end when it cannot put a terminal back into its first state: nodejs/node, src/node.cc, "ResetStdio". */
function letGoOfTerminal(): void {
  for (const fd of [0, 1, 2]) {
    try {
      closeSync(fd);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
    }
  }
}

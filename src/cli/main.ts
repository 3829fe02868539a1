import type { Host } from './host';
import { FdOutput } from './output';
import { runCli } from './run-cli';
import { watchSignals } from './signals';

/** The exit code that a shell shows for what SIGPIPE ended. */
const READER_GONE = 141;

void main();

/** Runs the command line of this process; what was printed is written before it ends. */
async function main(): Promise<void> {
  const watch = watchSignals(process);
  const host: Host = {
    env: process.env,
    out: new FdOutput(1, () => watch.abort('the reader of the output is gone', READER_GONE)),
    err: new FdOutput(2),
    stdin: () => process.stdin,
    stdout: () => process.stdout,
    signal: watch.signal,
    takeSignals: watch.take,
    now: Date.now,
    uid: process.getuid?.() ?? -1,
  };
  const code = await runCli(process.argv.slice(2), host);
  await Promise.all([host.out.drain(), host.err.drain()]);
  process.exit(watch.exitCode() ?? code);
}

import { PassThrough } from 'node:stream';
import type { Host } from '../../src/cli/host';
import type { Output } from '../../src/cli/output';
import { NOW } from './fixtures';

/** An output that keeps what it is given. */
export class Captured implements Output {
  readonly isTTY = false;
  text = '';

  write(text: string): void {
    this.text += text;
  }

  order(text: string): void {
    this.text += text;
  }

  size() {
    return { columns: 80, rows: 24 };
  }

  drain(): Promise<void> {
    return Promise.resolve();
  }
}

/** A process for commands that run inside a test. */
export function testHost(
  env: Record<string, string> = {},
  input = '',
): Host & { readonly out: Captured; readonly err: Captured } {
  const stdin = new PassThrough();
  stdin.end(input);
  return {
    env,
    out: new Captured(),
    err: new Captured(),
    stdin: () => stdin as unknown as NodeJS.ReadStream,
    stdout: () => new PassThrough(),
    signal: new AbortController().signal,
    now: () => NOW,
    uid: 0,
  };
}

import path from 'node:path';

/** Where a server of a tree writes what it has to say, beside the directory that takes the writes: who finds it knows who wrote there. */
export function serverLog(upper: string): string {
  return path.join(path.dirname(upper), 'server.log');
}

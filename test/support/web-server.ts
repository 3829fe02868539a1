import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { cleanEnv } from './command';

/** An answer to requests of one path. */
export type Page = (request: IncomingMessage, response: ServerResponse) => void;

/** A web server of the test's own on loopback. */
export interface WebServer {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** `METHOD /path STATUS`, in order. */
  readonly log: string[];
  /** By path without query; others are 404. */
  readonly pages: Map<string, Page>;
  stop(): Promise<void>;
}

/** A page with an ETag, which answers conditional requests. */
export function file(
  content: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Page {
  return (request, response) => {
    if (headers['etag'] !== undefined && request.headers['if-none-match'] === headers['etag']) {
      response.writeHead(304).end();
      return;
    }
    response.writeHead(200, headers).end(content);
  };
}

/**
 * @param repositories a folder of git repositories, served under `/git/` by git's own http backend.
 */
export async function startWebServer(repositories?: string): Promise<WebServer> {
  const log: string[] = [];
  const pages = new Map<string, Page>();
  const server: Server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/s, '');
    response.on('finish', () => log.push(`${request.method} ${path} ${response.statusCode}`));
    const page = pages.get(path);
    if (page !== undefined) page(request, response);
    else if (repositories !== undefined && path.startsWith('/git/'))
      serveGit(repositories, request, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    log,
    pages,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** CGI, as git-http-backend(1) describes it. */
function serveGit(root: string, request: IncomingMessage, response: ServerResponse): void {
  const [path = '', query = ''] = (request.url ?? '').slice('/git'.length).split('?');
  const child = spawn('git', ['-c', 'safe.directory=*', 'http-backend'], {
    env: cleanEnv({
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    }),
  });
  request.pipe(child.stdin);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.on('close', () => {
    const answer = Buffer.concat(chunks);
    const end = answer.indexOf('\r\n\r\n');
    const headers = answer
      .toString('latin1', 0, end)
      .split('\r\n')
      .map((line) => /^([^:]+): (.*)$/.exec(line))
      .flatMap((match) => (match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const]));
    const status = headers.find(([name]) => name === 'Status')?.[1];
    response
      .writeHead(status === undefined ? 200 : parseInt(status, 10), Object.fromEntries(headers))
      .end(answer.subarray(end + 4));
  });
}

/** Runs git in a folder as a person of the test; returns what it prints. */
export function gitIn(folder: string, ...args: readonly string[]): string {
  const who = {
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
  };
  return execFileSync('git', ['-c', 'protocol.file.allow=always', ...args], {
    cwd: folder,
    env: cleanEnv(who),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
    .toString()
    .trim();
}

/**
 * A repository `NAME.git` with one commit on `main` of what is in a folder, which becomes its work
 * tree. Returns the commit.
 */
export function commitFolder(folder: string, repositories: string, name: string): string {
  mkdirSync(repositories, { recursive: true });
  gitIn(folder, 'init', '--quiet', '--initial-branch=main');
  gitIn(folder, 'add', '--all');
  gitIn(folder, 'commit', '--quiet', '--allow-empty', '--message=first');
  symlinkSync(join(folder, '.git'), join(repositories, `${name}.git`));
  return gitIn(folder, 'rev-parse', 'HEAD');
}

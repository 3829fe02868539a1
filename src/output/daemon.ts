import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { runCommand } from '../sandbox/command';
import { archiveOf } from './archive-writer';
import { dockerFiles } from './docker';
import type { Exporter, ExportServices } from './exporter';
import type { Daemon } from './find-daemon';
import { prepareImages, type LayerPolicy } from './outgoing-image';
import { leased } from './leased';

/** Longest answer that is kept, in characters. */
const MAX_ANSWER = 1 << 20;

/** Hands images over to a container engine as `docker load` does, without a file in between. */
export function daemonExporter(
  daemon: Daemon,
  services: ExportServices,
  form: Omit<LayerPolicy, 'otherwise' | 'begun'> = {},
): Exporter {
  const exporter: Exporter = {
    async export(images, vertex, scope) {
      const prepared = await prepareImages(
        images,
        { otherwise: 'none', ...form },
        {
          services,
          vertex,
          scope,
        },
      );
      const archive = (): AsyncIterable<Uint8Array> => archiveOf(dockerFiles(prepared));
      if (daemon.kind === 'api') await postArchive(daemon.address, archive(), scope.signal);
      else await loadByProgram(daemon.file, archive(), scope.signal);
      return { descriptors: prepared.map((image) => image.manifest.descriptor) };
    },
  };
  return leased(exporter, services);
}

/** Milliseconds that an engine has for saying that it is there. */
const PATIENCE = 2000;

/** Whether somebody answers at the socket of an engine (Engine API, "Ping"). */
export function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = httpRequest({ ...endpointOf(address), path: '/_ping', timeout: PATIENCE });
    request.once('response', (response) => {
      response.resume();
      resolve(true);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
    request.once('close', () => resolve(false));
    request.end();
  });
}

/**
 * Engine API, "Import images". The answer is a line of JSON per event; an `error` among them is the
 * failure.
 */
async function postArchive(
  address: string,
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const request = httpRequest({
    ...endpointOf(address),
    method: 'POST',
    path: '/images/load?quiet=1',
    headers: { 'content-type': 'application/x-tar' },
    signal,
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) =>
    request.once('response', resolve).once('error', reject),
  );
  answered.catch(() => undefined);
  try {
    // An engine that refuses answers before it has read everything.
    await Promise.race([
      pipeline(Readable.from(archive, { objectMode: false }), request),
      answered,
    ]);
    const response = await answered;
    const text = await readAnswer(response);
    const failure = errorIn(text);
    if (response.statusCode !== 200 || failure !== undefined)
      throw new MbuildError(
        'IO_FAILED',
        `${address} did not load the image: ${failure ?? `status ${response.statusCode ?? 0}`}`,
      );
  } catch (error) {
    if (signal.aborted) throw new MbuildError('CANCELED', 'loading was stopped', { cause: error });
    const code = errnoOf(error);
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw error;
    throw new MbuildError(
      'IO_FAILED',
      `cannot load the image into ${address}: ${(error as Error).message}`,
      {
        cause: error,
        hint:
          code === 'EACCES'
            ? 'you have no permission to use the socket'
            : 'is the engine running? set DOCKER_HOST to use another one',
      },
    );
  } finally {
    request.destroy();
  }
}

function endpointOf(address: string): RequestOptions {
  if (address.startsWith('unix://'))
    return { socketPath: address.slice('unix://'.length), host: 'localhost' };
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol === 'tcp:' || url?.protocol === 'http:')
    return { host: url.hostname, port: url.port || 2375 };
  throw new MbuildError(
    'UNSUPPORTED',
    `cannot load into ${address}: only unix:// and tcp:// addresses are supported`,
    { hint: 'write an archive instead: --output type=docker,dest=image.tar' },
  );
}

async function loadByProgram(
  file: string,
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const result = await runCommand(file, ['load', '--quiet'], {
    input: Readable.from(archive, { objectMode: false }),
    signal,
  });
  if (result.exitCode !== 0)
    throw new MbuildError('IO_FAILED', `${file} did not load the image`, { output: result.stderr });
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) text = (text + String(chunk)).slice(-MAX_ANSWER);
  return text;
}

function errorIn(text: string): string | undefined {
  for (const line of text.split('\n')) {
    try {
      const event = JSON.parse(line) as { error?: unknown; message?: unknown; cause?: unknown };
      const found = event.error ?? event.message ?? event.cause;
      if (typeof found === 'string') return found;
    } catch {
      // Not every line is an event of its own.
    }
  }
  return undefined;
}

import { createContainer } from '../../containers/create';
import { publishedPorts } from '../../containers/ports';
import { ContainerStore } from '../../containers/store';
import { isMbuildError } from '../../diagnostics/error';
import type { Engine } from '../../engine';
import type { Image } from '../../images/store/image-store';
import { resolveImage } from '../../images/transfer/resolve';
import { withRow } from '../../progress/events';
import type { FlagValues } from '../args';
import { runAttached, startDetached } from '../attach';
import { defineCommand } from '../command';
import { note, type Host } from '../host';
import { withProgress } from '../progress';
import { CREATE_FLAGS, RUN_FLAGS } from '../run-flags';
import { createRequest } from '../run-options';
import { readPlatformFlag, withServices } from '../services';
import { readSecurityOptions } from '../security-options';
import { showError } from '../show-error';
import { writeBytes } from '../streams';
import { usage } from '../usage';

/** What mbuild itself could not do, as docker has it. */
const FAILURE = 125;

export const command = defineCommand({
  name: 'run',
  summary: 'Run a command in a new container from an image',
  usage: ['[OPTIONS] IMAGE [COMMAND] [ARG...]'],
  positionals: { min: 1, max: Infinity },
  stopAtPositional: true,
  flags: RUN_FLAGS,
  notes: [
    "The container uses the host's network, unless --network or --publish is given.",
    'Exit codes: 125 if mbuild could not run the container, 126 if the command cannot be executed, 127 if the command was not found, else that of the command (128 plus the number of the signal, if one ended it).',
  ],
  run: ({ flags, positionals }, host) =>
    orFailure(host, () =>
      withServices(host, flags, async (services) => {
        const record = await create(flags, positionals, services, host);
        if (flags.detach) {
          await startDetached(record, services.root);
          host.out.write(`${record.id}\n`);
          return 0;
        }
        const { input, output } = readAttach(flags.attach, host);
        const streams = { stdin: flags.interactive && input };
        const code = await runAttached(record, services, streams, { ...host, output });
        host.result?.(code);
        return code;
      }),
    ),
});

export const createCommand = defineCommand({
  name: 'create',
  summary: 'Create a container without starting it',
  usage: ['[OPTIONS] IMAGE [COMMAND] [ARG...]'],
  positionals: { min: 1, max: Infinity },
  stopAtPositional: true,
  flags: CREATE_FLAGS,
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async (services) => {
      const record = await create(flags, positionals, services, host);
      host.out.write(`${record.id}\n`);
      return 0;
    }),
});

/** Which streams `--attach` leaves. @throws MbuildError USAGE. */
function readAttach(
  names: readonly string[],
  host: Host,
): { readonly input: boolean; readonly output: Host['output'] } {
  const wanted = names.map((name) => name.toLowerCase());
  const unknown = wanted.findIndex((name) => !['stdin', 'stdout', 'stderr'].includes(name));
  if (unknown >= 0)
    throw usage(`invalid --attach ${names[unknown] ?? ''}`, 'write STDIN, STDOUT or STDERR');
  if (wanted.length === 0) return { input: true, output: host.output };
  return {
    input: wanted.includes('stdin'),
    output: (stream, bytes) =>
      wanted.includes(stream) ? (host.output ?? writeBytes)(stream, bytes) : undefined,
  };
}

async function create(
  flags: FlagValues<typeof CREATE_FLAGS>,
  [name = '', ...words]: readonly string[],
  services: Engine,
  host: Host,
) {
  for (const text of readSecurityOptions(flags['security-opt']).notes) note(host, text);
  const image = await findOrPull(name, flags, services, host);
  const request = createRequest(flags, { image, name, command: words }, host.env);
  return createContainer(
    { ...request, ports: await publishedPorts(request.ports) },
    new ContainerStore(services.root),
    services,
  );
}

async function findOrPull(
  name: string,
  flags: FlagValues<typeof CREATE_FLAGS>,
  services: Engine,
  host: Host,
): Promise<Image> {
  const request = {
    name,
    platform: readPlatformFlag(flags.platform),
    pull: flags.pull as 'always' | 'missing' | 'never',
  };
  const quietly = { signal: host.signal, events: () => undefined };
  if (request.pull !== 'always') {
    const local = await resolveImage({ ...request, pull: 'never' }, services.registry, {
      services,
      vertex: 1,
      scope: quietly,
    }).catch((error: unknown) => {
      if (request.pull === 'never' || !isMbuildError(error)) throw error;
      return undefined;
    });
    if (local !== undefined) return local;
  }
  return withProgress(host, flags.quiet ? 'quiet' : 'auto', (scope) =>
    withRow(`pulling ${name}`, 1, scope, (id) =>
      resolveImage(request, services.registry, { services, vertex: id, scope }),
    ),
  );
}

/**
 * Runs something that may end with a container's exit code: mbuild's own failures need one of their
 * own.
 */
export async function orFailure(host: Host, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    await showError(error, host);
    return (isMbuildError(error) ? error.exitCode : undefined) ?? FAILURE;
  }
}

import { ContainerStore } from '../../containers/store';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { visible } from '../../diagnostics/visible';
import type { Engine } from '../../engine';
import { defineCommand, type Command } from '../command';
import { inspectContainer } from '../format/inspect-container';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';
import { inspectImage } from '../format/inspect';
import { showError } from '../show-error';
import { findImage, lookUp, withServices } from '../services';

type Kind = 'image' | 'container';
type View = Readonly<Record<string, unknown>>;

/** Docker's order: of a container and an image of one name it is the container. */
export const command = inspectCommand(
  'inspect',
  'Display detailed information on images and containers',
  ['container', 'image'],
);
export const imageInspect = inspectCommand(
  'image inspect',
  'Display detailed information on one or more images',
  ['image'],
);
export const containerInspect = inspectCommand(
  'container inspect',
  'Display detailed information on one or more containers',
  ['container'],
);

function inspectCommand(command: string, summary: string, kinds: readonly Kind[]): Command {
  return defineCommand({
    name: command,
    summary,
    usage: ['[OPTIONS] NAME [NAME...]'],
    positionals: { min: 1, max: Infinity },
    flags: {
      format: {
        kind: 'string',
        short: 'f',
        value: 'FORMAT',
        help: "'json', or a Go template for each object",
      },
      size: {
        kind: 'boolean',
        short: 's',
        hidden: true,
        ignored: 'sizes are shown by ps --size',
        help: 'Not needed',
      },
      type: { kind: 'string', value: 'TYPE', choices: kinds, help: 'Kind of the object' },
    },
    run: ({ flags, positionals }, host) =>
      withServices(host, flags, async (services) => {
        const views: View[] = [];
        let code = 0;
        for (const name of positionals) {
          try {
            views.push(
              inspectObject(
                name,
                flags.type === undefined ? kinds : [flags.type as Kind],
                services,
              ),
            );
          } catch (error) {
            if (
              !isMbuildError(error, 'IMAGE_NOT_FOUND') &&
              !isMbuildError(error, 'CONTAINER_NOT_FOUND')
            )
              throw error;
            await showError(error, host);
            code = 1;
          }
        }
        host.result?.(JSON.parse(goJson(views)));
        if (flags.format === undefined || flags.format === 'json') {
          host.out.write(`${goJson(views, flags.format === 'json' ? {} : { indent: 4 })}\n`);
        } else {
          const template = parseTemplate(flags.format);
          // A script gets values as they are, but for orders to its CI service, which the output
          // takes out.
          const show = host.out.isTTY ? visible : (text: string) => text;
          host.out.write(views.map((view) => `${template.execute(view, show)}\n`).join(''));
        }
        return code;
      }),
  });
}

function inspectObject(name: string, kinds: readonly Kind[], services: Engine): View {
  const store = new ContainerStore(services.root);
  const container = kinds.includes('container') ? store.find(name) : undefined;
  if (container !== undefined)
    return inspectContainer(container, store.logFile(container.record.id));
  if (!kinds.includes('image')) return inspectContainer(store.get(name), '');
  if (kinds.includes('container') && lookUp(services, name) === undefined) {
    const { hint } = notFound(() => findImage(services, name));
    throw new MbuildError('IMAGE_NOT_FOUND', `no such object: ${name}`, { hint });
  }
  return inspectImage(findImage(services, name), services.layers);
}

function notFound(find: () => unknown): { readonly hint?: string | undefined } {
  try {
    find();
    return {};
  } catch (error) {
    if (!isMbuildError(error)) throw error;
    return error;
  }
}

import { isMbuildError } from '../../diagnostics/error';
import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { goJson } from '../format/go-value';
import { inspectImage } from '../format/inspect';
import { showError } from '../show-error';
import { findImage, withServices } from '../services';

export const command = defineCommand({
  name: 'inspect',
  summary: 'Display detailed information on one or more images',
  usage: ['[OPTIONS] IMAGE [IMAGE...]'],
  positionals: { min: 1, max: Infinity },
  flags: {
    format: { kind: 'string', short: 'f', value: 'FORMAT', help: "'json', or a Go template for each image" },
    type: { kind: 'string', value: 'TYPE', choices: ['image'], help: 'Kind of the object' },
  },
  run: ({ flags, positionals }, host) => withServices(host, flags, async (services) => {
    const views: Readonly<Record<string, unknown>>[] = [];
    let code = 0;
    for (const name of positionals) {
      try {
        views.push(inspectImage(findImage(services, name), services.layers));
      } catch (error) {
        if (!isMbuildError(error, 'IMAGE_NOT_FOUND')) throw error;
        await showError(error, host);
        code = 1;
      }
    }
    if (flags.format === undefined || flags.format === 'json') {
      host.out.write(`${goJson(views, flags.format === 'json' ? {} : { indent: 4 })}\n`);
    } else {
      const template = parseTemplate(flags.format);
      host.out.write(views.map((view) => `${template.execute(view)}\n`).join(''));
    }
    return code;
  }),
});

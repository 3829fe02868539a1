import { defineCommand } from '../command';
import { historyRows, historyShape } from '../format/history';
import { renderList } from '../format/list';
import { findImage, withServices } from '../services';

export const command = defineCommand({
  name: 'history',
  summary: 'Show the history of an image',
  usage: ['[OPTIONS] IMAGE'],
  positionals: { min: 1, max: 1 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    human: {
      kind: 'string',
      short: 'H',
      value: 'BOOL',
      choices: ['true', 'false'],
      fallback: 'true',
      help: 'Print sizes and times in human-readable form',
    },
    'no-trunc': { kind: 'boolean', help: "Don't truncate output" },
    quiet: { kind: 'boolean', short: 'q', help: 'Only show image IDs' },
  },
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, (services) => {
      const human = flags.human === 'true';
      const rows = historyRows(findImage(services, name), services.layers, {
        noTrunc: flags['no-trunc'],
        human,
        now: host.now(),
      });
      host.out.write(
        renderList(
          historyShape(human),
          rows,
          flags.quiet && flags.format === undefined ? '{{.ID}}' : flags.format,
        ),
      );
      return 0;
    }),
});

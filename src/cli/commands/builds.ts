import { BuildHistory } from '../../history/file-history';
import { noteUnreadable } from '../containers-of';
import { defineCommand } from '../command';
import { buildRow, buildsShape } from '../format/builds';
import { renderList } from '../format/list';
import { knownStoreRoot } from '../services';

export const command = defineCommand({
  name: 'builds',
  summary: 'List builds, the latest first',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    all: { kind: 'boolean', short: 'a', help: 'Delete all of them, not only the latest twenty' },
    format: {
      kind: 'string',
      value: 'FORMAT',
      help: "'table', 'table TEMPLATE', 'json', or a Go template",
    },
    quiet: { kind: 'boolean', short: 'q', help: 'Only show ids' },
  },
  run: async ({ flags }, host) => {
    const rows = [];
    const history = new BuildHistory(await knownStoreRoot(flags.root, host));
    const unreadable = (id: string): void => noteUnreadable(host, `build ${id}`, undefined);
    for (const record of history.all(unreadable)) {
      rows.push(buildRow(record, host.now()));
      if (!flags.all && rows.length === LATEST) break;
    }
    host.out.write(
      renderList(
        buildsShape,
        rows,
        flags.quiet && flags.format === undefined ? '{{.ID}}' : flags.format,
      ),
    );
    return 0;
  },
});

const LATEST = 20;

import { jsonText } from '../../diagnostics/visible';
import { readFileSync } from 'node:fs';
import { MbuildError, errnoOf, errorOfDiagnostics, machineFault } from '../../diagnostics/error';
import { toParseJson } from '../../dockerfile/json';
import { parseInstructions } from '../../dockerfile/parse';
import { defineCommand } from '../command';
import type { Host } from '../host';
import { readText } from '../stdin';

export const command = defineCommand({
  name: 'parse',
  summary: 'Print a parsed Dockerfile as JSON, for editors and linters',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    file: {
      kind: 'string',
      short: 'f',
      value: 'PATH',
      help: "The Dockerfile, '-' for standard input (default: PATH/Dockerfile)",
    },
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['json'],
      fallback: 'json',
      help: 'Format of the output',
    },
  },
  run: async ({ flags, positionals: [folder] }, host) => {
    const name = flags.file ?? `${folder === undefined ? '' : `${folder}/`}Dockerfile`;
    const text = await readDockerfile(name, host);
    const { instructions, diagnostics } = parseInstructions({ name, text });
    host.out.write(`${jsonText(toParseJson(instructions), 2)}\n`);
    const errors = diagnostics.filter(({ severity }) => severity === 'error');
    // What could be read is printed in any case: an editor's file is rarely whole.
    if (errors.length > 0) throw errorOfDiagnostics(errors);
    return 0;
  },
});

async function readDockerfile(name: string, host: Host): Promise<string> {
  if (name === '-') return readText(host.stdin());
  try {
    return readFileSync(name, 'utf8');
  } catch (error) {
    throw (
      machineFault(error) ??
      new MbuildError(
        'DOCKERFILE_NOT_FOUND',
        `cannot read ${name} (${errnoOf(error) ?? 'error'})`,
        { cause: error, hint: 'name it with --file' },
      )
    );
  }
}

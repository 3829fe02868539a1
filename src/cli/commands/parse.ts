import { readFileSync } from 'node:fs';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { parseDockerfile } from '../../dockerfile/parse';
import { defineCommand } from '../command';
import { instructionsToJson } from '../format/instructions';
import type { Host } from '../host';
import { readText } from '../stdin';

export const command = defineCommand({
  name: 'parse',
  summary: 'Print a Dockerfile as parsed, for editors and linters',
  usage: ['[OPTIONS] [PATH]'],
  positionals: { min: 0, max: 1 },
  flags: {
    file: { kind: 'string', short: 'f', value: 'PATH', help: "The Dockerfile, '-' for standard input (default: PATH/Dockerfile)" },
    format: { kind: 'string', value: 'FORMAT', choices: ['json'], fallback: 'json', help: 'Form of the output' },
  },
  run: async ({ flags, positionals: [folder] }, host) => {
    const name = flags.file ?? `${folder === undefined ? '' : `${folder}/`}Dockerfile`;
    const text = await readDockerfile(name, host);
    host.out.write(`${JSON.stringify(instructionsToJson(parseDockerfile({ name, text })), undefined, 2)}\n`);
    return 0;
  },
});

async function readDockerfile(name: string, host: Host): Promise<string> {
  if (name === '-') return readText(host.stdin());
  try {
    return readFileSync(name, 'utf8');
  } catch (error) {
    throw new MbuildError('DOCKERFILE_NOT_FOUND', `cannot read ${name} (${errnoOf(error) ?? 'error'})`, { cause: error, hint: 'name it with --file' });
  }
}

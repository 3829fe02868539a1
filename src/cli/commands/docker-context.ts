import { defineCommand } from '../command';
import { parseTemplate } from '../format/go-template';
import { renderList, type ListShape } from '../format/list';
import { note } from '../host';
import { usage } from '../usage';
import { listFiles } from './context';

/** The one place where builds run, as docker describes an engine. */
const CONTEXT = {
  Current: true,
  Description: 'This machine, without a daemon',
  DockerEndpoint: 'mbuild',
  Error: '',
  Name: 'default',
};

const SHAPE: ListShape = {
  fields: {
    Name: 'NAME',
    Description: 'DESCRIPTION',
    DockerEndpoint: 'DOCKER ENDPOINT',
    Error: 'ERROR',
    Current: 'CURRENT',
  },
  columns: ['Name', 'Description', 'DockerEndpoint', 'Error'],
};

export const ls = defineCommand({
  name: 'context ls',
  summary: "List docker's contexts: there is one, this machine",
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 1 },
  flags: {
    format: { kind: 'string', value: 'FORMAT', help: "'table', 'json', or a Go template" },
    quiet: { kind: 'boolean', short: 'q', help: 'Print names only' },
    file: { kind: 'string', hidden: true, value: 'PATH', help: "Of 'context files'" },
    ignorefile: { kind: 'string', hidden: true, value: 'PATH', help: "Of 'context files'" },
    sizes: { kind: 'boolean', hidden: true, help: "Of 'context files'" },
    why: { kind: 'boolean', hidden: true, help: "Of 'context files'" },
  },
  run: ({ flags, positionals }, host) => {
    const { sizes, why, file, ignorefile } = flags;
    if (positionals.length > 0 || sizes || why || file !== undefined || ignorefile !== undefined) {
      note(host, "the files of a build's context are listed by 'mbuild context files' from now on");
      const format = flags.format === 'json' ? 'json' : 'table';
      return Promise.resolve(listFiles({ ...flags, format }, positionals, host));
    }
    if (flags.quiet) host.out.write(`${CONTEXT.Name}\n`);
    else if (flags.format === 'json') host.out.write(`${JSON.stringify(CONTEXT)}\n`);
    else {
      const row = {
        ...CONTEXT,
        Current: 'true',
        Name: `${CONTEXT.Name}${flags.format === undefined ? ' *' : ''}`,
      };
      host.out.write(renderList(SHAPE, [row], flags.format));
    }
    return Promise.resolve(0);
  },
});

export const show = defineCommand({
  name: 'context show',
  summary: "Print the name of docker's context in use",
  usage: [''],
  positionals: { min: 0, max: 0 },
  flags: {},
  run: (_, { out }) => {
    out.write(`${CONTEXT.Name}\n`);
    return Promise.resolve(0);
  },
});

export const inspect = defineCommand({
  name: 'context inspect',
  summary: "Show docker's context: this machine",
  usage: ['[OPTIONS] [CONTEXT...]'],
  positionals: { min: 0, max: Infinity },
  flags: { format: { kind: 'string', short: 'f', value: 'FORMAT', help: 'A Go template' } },
  run: ({ flags: { format }, positionals }, { out }) => {
    positionals.forEach(checkName);
    const described = {
      Name: CONTEXT.Name,
      Metadata: {},
      Endpoints: { docker: { Host: '', SkipTLSVerify: false } },
      TLSMaterial: {},
      Storage: { MetadataPath: '<IN MEMORY>', TLSPath: '<IN MEMORY>' },
    };
    if (format === undefined || format === 'json')
      out.write(`${JSON.stringify([described], undefined, 4)}\n`);
    else out.write(`${parseTemplate(format).execute(described)}\n`);
    return Promise.resolve(0);
  },
});

export const use = defineCommand({
  name: 'context use',
  summary: "Set docker's context: there is one, this machine",
  usage: ['CONTEXT'],
  positionals: { min: 1, max: 1 },
  flags: {},
  run: ({ positionals: [name = ''] }, { out }) => {
    checkName(name);
    out.write(`${name}\n`);
    return Promise.resolve(0);
  },
});

function checkName(name: string): void {
  if (name === CONTEXT.Name) return;
  throw usage(
    `there is no context "${name}"`,
    `builds run on this machine: the only context is "${CONTEXT.Name}"`,
  );
}

import { writeFileSync } from 'node:fs';
import { buildAll, type BakeItem } from '../../bake/build-all';
import { buildCall } from '../../bake/build-call';
import { loadDefinition } from '../../bake/definition';
import { readBakeFiles } from '../../bake/files';
import { listTargets } from '../../bake/lists';
import { readOverrides } from '../../bake/overrides';
import { printSelection } from '../../bake/print';
import { linksOf, selectTargets, type ResolvedTarget, type Selection } from '../../bake/select';
import type { Definition } from '../../bake/target';
import type { BuildResult } from '../../build';
import { renderDiagnostic } from '../../diagnostics/render';
import { jsonText, visible } from '../../diagnostics/visible';
import { formatPlatform, hostPlatform } from '../../oci/platform';
import {
  PROGRESS_MODES,
  progressForm,
  type ProgressForm,
  type ProgressMode,
} from '../../progress/choose';
import { cleanLine } from '../../progress/sanitize';
import { parseArgs, type FlagTable, type FlagValues } from '../args';
import { BUILD_FLAGS } from '../build-flags';
import { buildOptions, readContext } from '../build-options';
import { readCall, runCall, type Call } from '../call';
import { defineCommand, type GLOBAL_FLAGS } from '../command';
import { warningSummary } from '../format/check';
import { metadataOf } from '../format/metadata';
import { layOutTable } from '../format/table';
import type { Host } from '../host';
import type { GithubReport } from '../ci-report';
import { githubReport, withProgress } from '../progress';
import { withServices } from '../services';
import { withTimeLimit } from '../time-limit';
import { readText } from '../stdin';
import { usage } from '../usage';

const BAKE_FLAGS = {
  file: {
    kind: 'list',
    short: 'f',
    value: 'FILE',
    env: ['BUILDX_BAKE_FILE'],
    help: 'A bake or compose file; later files override earlier ones',
  },
  set: {
    kind: 'list',
    value: 'TARGET.KEY[+]=VALUE',
    help: "Set an attribute of targets: 'app.args.X=1', '*.platform=linux/arm64', 'app.tags+=more'",
  },
  var: { kind: 'list', value: 'NAME=VALUE', help: 'Set a variable of the files' },
  print: { kind: 'boolean', help: 'Print the targets as JSON, without building them' },
  list: {
    kind: 'string',
    value: 'KIND',
    help: "List 'targets' or 'variables'; type=targets,format=json for scripts",
  },
  push: { kind: 'boolean', help: 'Send the images to their registries' },
  load: { kind: 'boolean', help: 'Load the images into docker or podman' },
  'no-cache': { kind: 'boolean', help: 'Do not use the cache' },
  pull: { kind: 'boolean', help: 'Ask the registries for newer base images' },
  check: { kind: 'boolean', help: 'Check the Dockerfiles without building them' },
  call: {
    kind: 'string',
    value: 'METHOD',
    fallback: 'build',
    help: 'What to do with each Dockerfile: build, check, outline or targets',
  },
  allow: {
    kind: 'list',
    value: 'ENTITLEMENT',
    help: 'Allow network.host, security.insecure or device for all targets',
  },
  sbom: { kind: 'string', value: 'VALUE', help: 'Short for --set=*.attest=type=sbom' },
  provenance: { kind: 'string', value: 'VALUE', help: 'Short for --set=*.attest=type=provenance' },
  progress: {
    kind: 'string',
    value: 'MODE',
    choices: PROGRESS_MODES,
    fallback: 'auto',
    env: ['BUILDKIT_PROGRESS'],
    help: "How progress is shown; auto is the CI service's form, or the terminal's",
  },
  'log-timestamp': {
    kind: 'boolean',
    help: 'Begin each line of plain, github and gitlab progress with the time',
  },
  timeout: {
    kind: 'string',
    value: 'TIME',
    help: 'Cancel the whole build when it takes longer: 90s, 1h30m',
  },
  'metadata-file': {
    kind: 'string',
    value: 'FILE',
    help: 'Write the results to a file as JSON, by target',
  },
  builder: {
    kind: 'string',
    value: 'NAME',
    ignored: 'mbuild has only one builder',
    help: "Docker's builder",
  },
} as const satisfies FlagTable;

type BakeFlags = FlagValues<typeof BAKE_FLAGS & typeof GLOBAL_FLAGS>;

export const command = defineCommand({
  name: 'bake',
  summary: 'Build the images that a bake or compose file describes',
  usage: ['[OPTIONS] [TARGET...]'],
  positionals: { min: 0, max: Infinity },
  flags: BAKE_FLAGS,
  notes: [
    'Without -f it reads compose.yaml, docker-compose.yml, docker-bake.json, docker-bake.hcl and docker-bake.override.*',
    'that are there. Targets are built together; what they share is done once.',
  ],
  run: async ({ flags, positionals }, host) => {
    const definition = await readAll(flags, host);
    if (flags.list !== undefined) return list(definition, flags.list, host);
    const names = positionals.length === 0 ? ['default'] : positionals;
    const overrides = readOverrides([...flags.set, ...shorthands(flags)], host.env);
    const selection = selectTargets(definition, names, overrides);
    if (flags.print) {
      host.out.write(printSelection(selection));
      return 0;
    }
    const items = readItems(selection, flags, host);
    const call = readCall({ check: flags.check, call: flags.call, format: undefined });
    if (call !== undefined) return callAll(items, call, { flags, host });
    return buildOrCall(items, selection, { flags, host });
  },
});

/** Builds all targets but those that a `call` of their own asks for something else. */
async function buildOrCall(
  items: readonly BakeItem[],
  { targets }: Selection,
  { flags, host }: { readonly flags: BakeFlags; readonly host: Host },
): Promise<number> {
  const built: BakeItem[] = [];
  let code = 0;
  for (const item of items) {
    const asked = targets.get(item.name)?.attributes.call ?? 'build';
    const call = readCall({ check: false, call: asked, format: undefined });
    if (call === undefined) built.push(item);
    else code = Math.max(code, await callAll([item], call, { flags, host }));
  }
  return built.length === 0 ? code : Math.max(code, await build(built, flags, host));
}

async function readAll(flags: BakeFlags, host: Host): Promise<Definition> {
  const directory = process.cwd();
  const files = await readBakeFiles(flags.file, directory, () => readText(host.stdin()));
  const given = new Map(flags.var.map(readVariable));
  const isClosed = /^(1|t|true)$/i.test(host.env['BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP'] ?? '');
  const definition = await loadDefinition(files, directory, {
    builtins: { BAKE_CMD_CONTEXT: 'cwd://', BAKE_LOCAL_PLATFORM: formatPlatform(hostPlatform()) },
    lookup: (name) => given.get(name) ?? (isClosed ? undefined : host.env[name]),
  });
  for (const warning of definition.warnings) host.err.write(`${renderDiagnostic(warning)}\n\n`);
  return definition;
}

function readVariable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`--var ${text} has no value`, 'write --var NAME=VALUE');
  return [text.slice(0, at), text.slice(at + 1)];
}

/** The flags that stand for overrides of all targets. */
function shorthands(flags: BakeFlags): string[] {
  const attest = (type: string, value: string | undefined): string[] => {
    if (value === undefined) return [];
    if (/^(1|t|true|0|f|false)$/i.test(value))
      return [`*.attest=type=${type},disabled=${String(!/^(1|t|true)$/i.test(value))}`];
    return [`*.attest=type=${type},${value}`];
  };
  return [
    ...(flags.push ? ['*.push=true'] : []),
    ...(flags.load ? ['*.load=true'] : []),
    ...(flags['no-cache'] ? ['*.no-cache=true'] : []),
    ...(flags.pull ? ['*.pull=true'] : []),
    ...attest('sbom', flags.sbom),
    ...attest('provenance', flags.provenance),
  ];
}

function readItems({ targets }: Selection, { allow, progress }: BakeFlags, host: Host): BakeItem[] {
  const env = withoutBuildFlags(host.env);
  return [...targets.values()].map((target) => ({
    name: target.name,
    options: optionsOf(
      target,
      [...allow.map((each) => `--allow=${each}`), `--progress=${progress}`],
      env,
    ),
    needs: linksOf(target.attributes),
    linked: target.linked,
  }));
}

/** `MBUILD_TAG` is a flag of one build, and not of every target. */
function withoutBuildFlags(env: Host['env']): Host['env'] {
  const own = Object.keys(BUILD_FLAGS).map(
    (name) => `MBUILD_${name.replace(/-/g, '_').toUpperCase()}`,
  );
  return Object.fromEntries(Object.entries(env).filter(([name]) => !own.includes(name)));
}

function optionsOf(
  target: ResolvedTarget,
  more: readonly string[],
  env: Host['env'],
): BakeItem['options'] {
  const { flags: given, context, inline } = buildCall(target);
  const command = `mbuild bake: target ${target.name}`;
  const { flags } = parseArgs([...given, ...more], BUILD_FLAGS, { command, env });
  const dockerfile =
    inline === undefined
      ? { path: flags.file ?? 'Dockerfile' }
      : { name: `dockerfile-inline of ${target.name}`, text: inline };
  return buildOptions(flags, { context: readContext(context), dockerfile }, env);
}

async function build(items: readonly BakeItem[], flags: BakeFlags, host: Host): Promise<number> {
  const form = progressForm(flags.progress as ProgressMode, host.err.isTTY, host.env);
  const builds = items.map(({ options }) => options);
  const github = await githubReport(form, builds, host);
  try {
    const results = await withTimeLimit(flags.timeout, host, (limited) =>
      buildInStore(items, { flags, form, github }, limited),
    );
    report(results, form, host);
    const file = flags['metadata-file'];
    if (file !== undefined) writeFileSync(file, `${jsonText(metadata(results), 2)}\n`);
    return 0;
  } catch (error) {
    github?.failed(error);
    throw error;
  }
}

function buildInStore(
  items: readonly BakeItem[],
  {
    flags,
    form,
    github,
  }: {
    readonly flags: BakeFlags;
    readonly form: ProgressForm;
    readonly github: GithubReport | undefined;
  },
  host: Host,
): Promise<ReadonlyMap<string, BuildResult>> {
  const progress = { mode: form, timestamps: flags['log-timestamp'] };
  return withServices(host, flags, async (services) => {
    const results = await withProgress(host, progress, (scope) =>
      buildAll(items, services, github?.watch(scope) ?? scope),
    );
    github?.done([...results], services);
    return results;
  });
}

function report(results: ReadonlyMap<string, BuildResult>, form: ProgressForm, host: Host): void {
  if (form === 'quiet' || form === 'rawjson') return;
  const warnings = [...results.values()].flatMap((result) => result.warnings);
  host.err.write(warningSummary(warnings, (line) => cleanLine(line)));
}

function metadata(results: ReadonlyMap<string, BuildResult>): Record<string, unknown> {
  return Object.fromEntries([...results].map(([name, result]) => [name, metadataOf(result)]));
}

/** Each target's answer under its name; the exit code is 1 when one of them is. */
async function callAll(
  items: readonly BakeItem[],
  call: Call,
  { flags, host }: { readonly flags: BakeFlags; readonly host: Host },
): Promise<number> {
  let code = 0;
  for (const [i, { name, options }] of items.entries()) {
    if (call.format === 'text') host.out.write(`${i === 0 ? '' : '\n'}${name}\n\n`);
    code = Math.max(code, await runCall(call, options, flags, host));
  }
  return code;
}

function list(definition: Definition, text: string, host: Host): number {
  const fields = text.split(',').map((field) => field.split('='));
  const plain = fields.length === 1 && fields[0]?.length === 1;
  const find = (wanted: string): string | undefined =>
    fields.find(([name]) => name?.trim() === wanted)?.[1];
  const kind = plain ? text : find('type');
  const format = find('format') ?? 'table';
  if (kind !== 'targets' && kind !== 'variables')
    throw usage(`--list ${text} has no type`, 'write --list targets, or --list variables');
  if (format !== 'table' && format !== 'json')
    throw usage(`--list has no format "${format}"`, 'formats are table and json');
  const rows = kind === 'targets' ? listTargets(definition) : listVariables(definition);
  if (format === 'json') host.out.write(`${jsonText(rows, 2)}\n`);
  else
    host.out.write(
      layOutTable(kind === 'targets' ? targetRows(definition) : variableRows(definition)),
    );
  return 0;
}

function listVariables({ variables }: Definition): Definition['variables'] {
  return [...variables].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function targetRows(definition: Definition): string[][] {
  const rows = listTargets(definition).map(({ name, description = '' }) => [
    name,
    visible(description),
  ]);
  return [['TARGET', 'DESCRIPTION'], ...rows];
}

function variableRows(definition: Definition): string[][] {
  const rows = listVariables(definition).map(
    ({ name, type = '', value = '<null>', description = '' }) => [
      name,
      type,
      visible(value),
      visible(description),
    ],
  );
  return [['VARIABLE', 'TYPE', 'VALUE', 'DESCRIPTION'], ...rows];
}

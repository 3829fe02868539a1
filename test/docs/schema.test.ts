import Ajv, { type ValidateFunction } from 'ajv/dist/2020';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, succeed } from '../support/command';
import { Mbuild, REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const SCHEMAS = join(REPOSITORY, 'docs/schema');

type Json = Readonly<Record<string, unknown>>;

describeWith('JSON that leaves mbuild', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base AS one\nCOPY a /a\nRUN cat /a\nFROM one AS two\nMAINTAINER me\n',
      a: 'text\n',
      broken: 'FROM small-base\nRUN echo \'\\377\'; printf "\\377"; exit 3\n',
    });
    const git = (...args: string[]) =>
      succeed('git', ['-C', context, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args]);
    await git('init', '--quiet');
    await git('add', '.');
    await git('commit', '--quiet', '-m', 'first');
    writeFiles(context, { a: 'another text\n' });
    await git('commit', '--quiet', '-a', '-m', 'second');
  });

  it('--metadata-file and --progress=rawjson', async () => {
    const file = join(temp.dir(), 'metadata.json');
    const targets = ['--target=one', '--target=two', '-t', 'one', '-t', 'two'];
    for (const flags of [['-t', 'app'], targets]) {
      const built = await mbuild.run(
        ['build', '--progress=rawjson', '--metadata-file', file, ...flags, context],
        { env: cleanEnv() },
      );
      expect(built.code).toBe(0);
      const events = linesOf(built.stderr);
      expect(events.map(({ kind }) => kind)).toContain('result');
      expect(events.flatMap((event) => problemsOf('event', event))).toEqual([]);
      expect(problemsOf('metadata', JSON.parse(readFileSync(file, 'utf8')))).toEqual([]);
    }
  });

  it('--progress=rawjson of a build that fails', async () => {
    const failed = await mbuild.run(['build', '--progress=rawjson', '-f', 'broken', context]);
    const events = linesOf(failed.stderr);
    expect(events.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['log', 'failed', 'error']),
    );
    expect(events.flatMap((event) => problemsOf('event', event))).toEqual([]);
  });

  it('explain, plan and builds', async () => {
    await mbuild.ok(['build', context]);
    await mbuild.ok(['build', '--no-cache', context]);
    for (const build of ['~0', '~1'])
      expect(
        problemsOf('explanation', JSON.parse(await mbuild.ok(['explain', '--format=json', build]))),
      ).toEqual([]);
    for (const flags of [[], ['--no-cache']])
      expect(
        problemsOf(
          'plan',
          JSON.parse(await mbuild.ok(['plan', '--format=json', ...flags, context])),
        ),
      ).toEqual([]);
    const builds = linesOf(await mbuild.ok(['builds', '--format=json']));
    expect(builds.length).toBeGreaterThan(1);
    expect(builds.flatMap((build) => problemsOf('builds', build))).toEqual([]);
  });

  it('bench replay and bench run', async () => {
    const history = ['--format=json', '--git', 'HEAD'];
    for (const kind of ['replay', 'run'])
      expect(
        problemsOf(
          `bench-${kind}`,
          JSON.parse(await mbuild.ok(['bench', kind, ...history, context])),
        ),
      ).toEqual([]);
  });

  it('is refused where a member is missing or has no place in the schema', () => {
    const line = { version: 1, kind: 'note', id: 1, text: 'a' };
    expect(problemsOf('event', line)).toEqual([]);
    expect(problemsOf('event', { ...line, version: 2 })).not.toEqual([]);
    expect(problemsOf('event', { ...line, other: 1 })).not.toEqual([]);
    expect(problemsOf('event', { version: 1, kind: 'note', id: 1 })).not.toEqual([]);
  });
});

function linesOf(text: string): Json[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Json);
}

const validators = compileSchemas();

/** What a document lacks or has too much of. */
function problemsOf(schema: string, document: unknown): unknown[] {
  const validate = validators.get(schema);
  if (validate === undefined) throw new Error(`there is no docs/schema/${schema}.json`);
  return validate(document) ? [] : [{ document, errors: validate.errors }];
}

function compileSchemas(): Map<string, ValidateFunction> {
  const ajv = new Ajv({ strict: true, allErrors: true, validateFormats: false });
  const names = readdirSync(SCHEMAS).map((name) => name.replace(/\.json$/, ''));
  const schemas = names.map((name) => {
    const schema = JSON.parse(readFileSync(join(SCHEMAS, `${name}.json`), 'utf8')) as Json;
    return [name, closed(schema) as Json] as const;
  });
  for (const [, schema] of schemas) ajv.addSchema(schema);
  return new Map(
    schemas.flatMap(([name, { $id }]) => {
      const validate = ajv.getSchema(String($id));
      return validate === undefined ? [] : [[name, validate]];
    }),
  );
}

/** Readers skip members that they do not know; here each one must stand in the schema. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const members = Object.entries(schema).map(([key, value]) => [key, closed(value)]);
  const isObject = 'properties' in schema && 'required' in schema;
  return {
    ...Object.fromEntries(members),
    ...(isObject && !('additionalProperties' in schema) ? { additionalProperties: false } : {}),
  };
}

import type { CacheRecord } from '../../cache/record';
import type { CacheKey } from '../../cache/key';
import { loadManifest } from '../../cache/manifest';
import { MbuildError } from '../../diagnostics/error';
import { jsonText, visible } from '../../diagnostics/visible';
import type { Engine } from '../../engine';
import type { BuildRecord, StepRecord } from '../../history/build-record';
import { causeText, type Cause } from '../../history/cause';
import { compareSteps } from '../../history/compare';
import { BuildHistory } from '../../history/file-history';
import { humanSize, seconds } from '../../progress/units';
import { defineCommand } from '../command';
import { cacheRows } from '../format/cache';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { layOutTable } from '../format/table';
import { collectGarbage, withServices } from '../services';

const SHAPE: ListShape = {
  fields: {
    Key: 'KEY',
    Size: 'SIZE',
    Time: 'TIME',
    CreatedSince: 'CREATED',
    Build: 'BUILD',
    Shared: 'IN IMAGE',
    Description: 'STEP',
  },
  columns: ['Key', 'Size', 'Time', 'CreatedSince', 'Build', 'Shared', 'Description'],
};

const FORMAT = {
  kind: 'string',
  value: 'FORMAT',
  help: "'table', 'table TEMPLATE', 'json', or a Go template",
} as const;

export const list = defineCommand({
  name: 'cache ls',
  summary: 'List the results of steps in the cache',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: { format: FORMAT },
  run: ({ flags }, host) =>
    withServices(host, flags, (services) => {
      const byKey = new Map(
        services.cache.list().map((record) => [record.key.slice(0, KEY_SHOWN), record]),
      );
      const rows = cacheRows([...byKey.values()], services, host.now()).map((row): ListRow => {
        const record = byKey.get(row['ID'] ?? '');
        return {
          ...row,
          Key: row['ID'] ?? '',
          Time: seconds(record?.durationMs ?? 0),
          Build: record?.build ?? '',
        };
      });
      host.out.write(renderList(SHAPE, rows, flags.format));
      return 0;
    }),
});

const KEY_SHOWN = 12;

export const usage = defineCommand({
  name: 'cache du',
  summary: 'Show how much space the cache uses, and how much time it saves',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['table', 'json'],
      fallback: 'table',
      help: "'table' or 'json'",
    },
  },
  run: ({ flags }, host) =>
    withServices(host, flags, (services) => {
      const kinds = [...new Set(services.cache.list().map((record) => record.input.kind))]
        .sort()
        .map((kind) => {
          const records = services.cache.list().filter((record) => record.input.kind === kind);
          const layers = new Map(
            records.flatMap(({ layer }) =>
              layer === undefined ? [] : [[layer.chainId, layer.contentSize] as const],
            ),
          );
          return {
            kind,
            records: records.length,
            bytes: [...layers.values()].reduce((sum, size) => sum + size, 0),
            seconds: records.reduce((sum, { durationMs }) => sum + durationMs, 0) / 1000,
          };
        });
      if (flags.format === 'json') host.out.write(`${jsonText(kinds, 2)}\n`);
      else
        host.out.write(
          layOutTable([
            ['KIND', 'RECORDS', 'SIZE', 'TIME'],
            ...kinds.map((row) => [
              row.kind.toUpperCase(),
              String(row.records),
              humanSize(row.bytes),
              seconds(row.seconds * 1000),
            ]),
          ]),
        );
      return 0;
    }),
});

export const remove = defineCommand({
  name: 'cache rm',
  summary: 'Delete results of steps from the cache',
  usage: ['KEY|BUILD [KEY|BUILD...]'],
  positionals: { min: 1, max: Infinity },
  flags: {},
  notes: [
    'KEY is the beginning of a key, as mbuild cache ls shows it; BUILD deletes the results of all steps that a build ran.',
  ],
  run: ({ flags, positionals: words }, host) =>
    withServices(host, flags, async (services) => {
      const keys = new Set(words.flatMap((word) => keysOf(word, services)));
      for (const key of keys) {
        services.cache.delete(key);
        host.out.write(`${key}\n`);
      }
      const { bytes } = await collectGarbage(services);
      host.out.write(`Total reclaimed space: ${humanSize(bytes)}\n`);
      return 0;
    }),
});

/** The records that a word means. @throws MbuildError USAGE for none. */
function keysOf(word: string, { cache, root }: Engine): CacheKey[] {
  const records = cache.list();
  const build = new BuildHistory(root).search(word);
  const found = build === undefined ? [] : records.filter((record) => record.build === build.id);
  const named =
    found.length > 0
      ? found
      : records.filter((record) => record.key.startsWith(word) && word.length >= MIN_PART);
  if (named.length > 0) return named.map((record) => record.key);
  throw new MbuildError('USAGE', `the cache has no result for the key or build ${word}`, {
    hint: "list keys with 'mbuild cache ls' and builds with 'mbuild builds'",
  });
}

const MIN_PART = 4;

export const diff = defineCommand({
  name: 'cache diff',
  summary: 'Show how the steps of two builds differ',
  usage: ['[OPTIONS] BUILD BUILD'],
  positionals: { min: 2, max: 2 },
  flags: {
    format: {
      kind: 'string',
      value: 'FORMAT',
      choices: ['text', 'json'],
      fallback: 'text',
      help: "'text' or 'json'",
    },
  },
  run: ({ flags, positionals: [one = '', two = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const history = new BuildHistory(services.root);
      const [before, after] = [history.find(one), history.find(two)];
      const steps = await compareBuilds(before, after, services);
      if (flags.format === 'json')
        host.out.write(
          `${jsonText({ before: before.id, after: after.id, steps: steps.map((step) => ({ ...step, causes: step.causes.map((cause) => ({ ...cause, text: causeText(cause) })) })) }, 2)}\n`,
        );
      else
        host.out.write(
          steps
            .flatMap((step) => [
              `${MARKS[step.state]} ${visible(step.name)}\n`,
              ...step.causes.map((cause) => `    ${visible(causeText(cause))}\n`),
            ])
            .join(''),
        );
      return 0;
    }),
});

const MARKS = { same: '=', differs: '!', added: '+', removed: '-' } as const;

interface StepDifference {
  readonly name: string;
  readonly state: keyof typeof MARKS;
  readonly causes: readonly Cause[];
}

/**
 * The steps of the second build against those of the first of the same text, else of the same
 * place; then those that are gone.
 */
async function compareBuilds(
  before: BuildRecord,
  after: BuildRecord,
  services: Engine,
): Promise<StepDifference[]> {
  const left = new Set(before.steps);
  const pairs = after.steps.map((step) => {
    const candidates = [...left].filter((other) => other.stage === step.stage);
    const found =
      candidates.find((other) => other.text === step.text) ??
      candidates.find(
        (other) =>
          other.index === step.index && !after.steps.some((third) => third.text === other.text),
      );
    if (found !== undefined) left.delete(found);
    return { step, found };
  });
  const compared = await Promise.all(
    pairs.map(async ({ step, found }): Promise<StepDifference> => {
      if (found === undefined) return { name: step.name, state: 'added', causes: [] };
      if (found.key === step.key) return { name: step.name, state: 'same', causes: [] };
      const [old, now] = [inputOf(found, services), inputOf(step, services)];
      if (old === undefined || now === undefined)
        return { name: step.name, state: 'differs', causes: [] };
      const own = await compareSteps(
        { text: found.text, input: old },
        { text: step.text, input: now },
        (digest) => loadManifest(services.root, digest),
      );
      return {
        name: step.name,
        state: 'differs',
        causes:
          own.length > 0 || old.parent === now.parent
            ? own
            : [{ kind: 'setting', name: 'the tree it starts on' }],
      };
    }),
  );
  return [
    ...compared,
    ...[...left].map((step): StepDifference => ({ name: step.name, state: 'removed', causes: [] })),
  ];
}

/** What a step did: by its build, by the cache, or by the build that made it. */
function inputOf(step: StepRecord, { cache, root }: Engine): CacheRecord['input'] | undefined {
  const made = step.input ?? cache.get(step.key as CacheKey)?.input;
  if (made !== undefined || step.madeBy === undefined) return made;
  return new BuildHistory(root).get(step.madeBy)?.steps.find((other) => other.key === step.key)
    ?.input;
}

import { mkdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildByMbuild, buildByReference, prepare, pushImage, type Setting } from './builders';
import { readCases, type ReferenceCase } from './cases';
import { differences, type Outcome } from './compare';
import { randomCases } from './random';

const HELP = `npm run test:reference -- [OPTIONS]
Builds every case of fixtures/reference with BuildKit and with mbuild, and prints what differs.

  --reference CMD  docker's command line, of a daemon that exports OCI archives (MBUILD_REFERENCE, default: docker)
  --base REF       a base image with a busybox, in a registry that may be pushed to (MBUILD_REFERENCE_BASE)
  --work DIR       a folder that the daemon's client sees under the same path (MBUILD_REFERENCE_WORK, default: in the temporary folder)
  --only TEXT      cases whose name holds the text
  --jobs N         cases at the same time (default: 2)
  --random N       not these cases, but N that chance composes, which are shown where they differ
  --seed S         which (default: 1)
  --again          build with the reference even what it has built before
  --verbose        print the messages of refusals
  --list           print the names of the cases
`;

/** What came of one case. */
interface Verdict {
  readonly item: ReferenceCase;
  readonly lines: readonly string[];
  readonly reference: Outcome;
  readonly ours: Outcome;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      reference: { type: 'string', default: process.env.MBUILD_REFERENCE ?? 'docker' },
      base: { type: 'string', default: process.env.MBUILD_REFERENCE_BASE ?? '' },
      work: {
        type: 'string',
        default: process.env.MBUILD_REFERENCE_WORK ?? path.join(os.tmpdir(), 'mbuild-reference'),
      },
      only: { type: 'string', default: '' },
      random: { type: 'string' },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: '2' },
      again: { type: 'boolean' },
      verbose: { type: 'boolean' },
      list: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const { images, cases: all } =
    values.random === undefined
      ? readCases('fixtures/reference')
      : { images: [], cases: randomCases(Number(values.random), Number(values.seed)) };
  const cases = all.filter((item) => item.id.includes(values.only));
  if (values.help === true) return say(HELP);
  if (values.list === true) return say(cases.map((item) => `${item.id}\n`).join(''));
  if (values.base === '') throw new Error('which base image? Give --base or MBUILD_REFERENCE_BASE');
  const setting: Setting = {
    reference: values.reference,
    base: values.base,
    work: path.resolve(values.work),
    mbuild: path.resolve('bin/mbuild'),
    remember: values.again !== true,
  };
  mkdirSync(setting.work, { recursive: true });
  rmSync(path.join(setting.work, 'store'), { recursive: true, force: true });
  for (const image of images) await pushImage(image, setting);
  const verdicts: Verdict[] = [];
  const queue = cases.values();
  await Promise.all(
    Array.from({ length: Number(values.jobs) }, async () => {
      for (const item of queue) {
        const verdict = await judge(item, setting);
        verdicts.push(verdict);
        report(verdict, values.verbose === true);
      }
    }),
  );
  return summary(verdicts);
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}

async function judge(item: ReferenceCase, setting: Setting): Promise<Verdict> {
  const prepared = await prepare(item, setting);
  try {
    const [reference, ours] = [
      await buildByReference(prepared, setting),
      await buildByMbuild(prepared, setting),
    ];
    return {
      item,
      lines: differences(reference, ours).filter((line) => item.noise?.test(line) !== true),
      reference,
      ours,
    };
  } finally {
    rmSync(prepared.context, { recursive: true, force: true });
  }
}

/** Differences that are not the expected ones, and expected ones that are gone. */
function unexpected({ item, lines }: Verdict): string[] {
  const expected = item.deviation?.lines ?? [];
  return [
    ...lines.filter((line) => !expected.includes(line)),
    ...expected.filter((line) => !lines.includes(line)).map((line) => `no longer: ${line}`),
  ];
}

function report(verdict: Verdict, verbose: boolean): void {
  const { item, reference, ours } = verdict;
  for (const line of unexpected(verdict)) process.stdout.write(`${item.id} · ${line}\n`);
  const isWrong = unexpected(verdict).length > 0;
  // Nobody can read it elsewhere.
  if (isWrong && item.noise !== undefined)
    process.stdout.write(`${indented('Dockerfile', item.dockerfile, Infinity)}\n`);
  for (const [who, outcome] of [
    ['reference', reference],
    ['mbuild', ours],
  ] as const) {
    if (outcome.kind === 'refused' && (verbose || (isWrong && reference.kind !== ours.kind)))
      process.stdout.write(`${indented(who, outcome.message)}\n`);
  }
}

function indented(who: string, message: string, most = 12): string {
  const lines = message
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^#\d+ /.test(line))
    .slice(-most);
  return lines.map((line) => `    ${who} │ ${line}`).join('\n');
}

function summary(verdicts: readonly Verdict[]): number {
  const refused = verdicts.filter(({ reference }) => reference.kind === 'refused').length;
  const wrong = verdicts.filter((verdict) => unexpected(verdict).length > 0);
  const meant = verdicts.filter(
    ({ item, lines }) => item.deviation !== undefined && lines.length > 0,
  );
  for (const { item } of meant)
    process.stdout.write(`meant: ${item.id}: ${item.deviation?.reason}\n`);
  process.stdout.write(
    `${verdicts.length} cases (${refused} to be refused): ${verdicts.length - wrong.length - meant.length} the same, ${meant.length} differ as meant, ${wrong.length} differ\n`,
  );
  return wrong.length === 0 ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    // Not later: other cases are being built, in a store that the next run begins anew.
    process.exit(2);
  },
);

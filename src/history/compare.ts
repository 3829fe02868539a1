import type { KeyInput, KeyValue } from '../cache/key';
import type { SelectionManifest } from '../cache/manifest';
import type { Dockerfile, Instruction, Stage } from '../dockerfile/instruction';
import { splitEnv } from '../oci/env';
import type { Cause, VariableCause } from './cause';
import { compareManifests } from './compare-files';

/** A step, as far as two of them are compared. */
export interface ComparedStep {
  /** The instruction as written. */
  readonly text: string;
  readonly input: KeyInput;
}

/** Finds what a selection's digest stands for. */
export type FindManifest = (digest: string) => Promise<SelectionManifest | undefined>;

/** Where variables are looked up that differ. */
export interface Declarations {
  readonly dockerfile: Dockerfile;
  readonly stage: string;
  /** Line of the step. */
  readonly line: number;
}

/** Inputs by how they are called where a Dockerfile sets them. */
const SETTINGS: Readonly<Record<string, string>> = {
  args: 'SHELL',
  cwd: 'WORKDIR',
  user: 'USER',
  network: 'network',
  insecure: 'security=insecure',
  devices: '--device',
  volumes: '--volume',
  capabilities: '--cap-add and --cap-drop',
  noNewPrivileges: '--no-new-privileges',
  hostname: '--hostname',
  dest: 'destination',
  owner: '--chown',
  chmod: '--chmod',
  link: '--link',
  unpack: '--unpack',
  path: 'WORKDIR',
  sourceDateEpoch: 'SOURCE_DATE_EPOCH',
  modes: '--context-modes',
};
/** Inputs that are looked into. */
const STRUCTURED = ['env', 'sources', 'mounts'];

/**
 * How two steps differ in what they do themselves: files, variables, then the instruction and its
 * settings. Their parents are not compared.
 */
export async function compareSteps(
  before: ComparedStep,
  after: ComparedStep,
  findManifest: FindManifest,
  declarations?: Declarations,
): Promise<Cause[]> {
  const [old, now] = [before.input.inputs, after.input.inputs];
  const isRewritten = before.text !== after.text;
  const variables = compareVariables(texts(old['env']), texts(now['env']), declarations);
  const sources = await compareSources(list(old['sources']), list(now['sources']), findManifest);
  const mounts = await compareMounts(list(old['mounts']), list(now['mounts']), findManifest);
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].filter(
    (name) => !STRUCTURED.includes(name) && !same(old[name], now[name]),
  );
  // Where nothing changed that both have, other files were asked for.
  const otherFiles =
    isRewritten &&
    sources.causes.length > 0 &&
    sources.causes.every(
      (cause) => cause.kind === 'file' && (cause.change === 'added' || cause.change === 'removed'),
    );
  const files = [...(otherFiles ? [] : sources.causes), ...mounts.causes];
  const isOther =
    before.input.kind !== after.input.kind || sources.isOther || mounts.isOther || otherFiles;
  const rewritten: Cause[] =
    isRewritten && (names.length > 0 || isOther)
      ? [{ kind: 'instruction', before: before.text, after: after.text }]
      : [];
  const settings = isRewritten
    ? []
    : names.map((name): Cause => ({
        kind: 'setting',
        name: SETTINGS[name] ?? name,
        ...(name === 'args' ? {} : { before: word(old[name]), after: word(now[name]) }),
      }));
  const unnamed: Cause[] =
    !isRewritten && isOther
      ? [{ kind: 'setting', name: mounts.isOther ? '--mount' : 'sources' }]
      : [];
  return [...rewritten, ...files, ...variables, ...settings, ...unnamed];
}

interface SourceComparison {
  readonly causes: readonly Cause[];
  /** They differ in more than files. */
  readonly isOther: boolean;
}

/** Sources of COPY and ADD: digests of selections, the text of heredocs, what was fetched. */
async function compareSources(
  before: readonly KeyValue[],
  after: readonly KeyValue[],
  findManifest: FindManifest,
): Promise<SourceComparison> {
  const isMoved = before.some(
    (item, i) => !same(item, after[i]) && after.some((other) => same(item, other)),
  );
  if (isMoved) return { causes: [], isOther: true };
  return comparePairs(before, after, async (old, now) => {
    if (isDigestText(old) && isDigestText(now)) return compareSelections(old, now, findManifest);
    const fetched = compareFetched(list(old), list(now));
    return fetched === undefined ? undefined : [fetched];
  });
}

/** Mounts: a bind mount has the digest of what it shows. */
async function compareMounts(
  before: readonly KeyValue[],
  after: readonly KeyValue[],
  findManifest: FindManifest,
): Promise<SourceComparison> {
  return comparePairs(before, after, async (old, now) => {
    const [oldDigest, newDigest] = [mountedDigest(old), mountedDigest(now)];
    return oldDigest === undefined ||
      newDigest === undefined ||
      !same(withoutContent(old), withoutContent(now))
      ? undefined
      : compareSelections(oldDigest, newDigest, findManifest);
  });
}

/**
 * Compares what stands in the same places.
 * @param causesOf what a difference comes from; `undefined` when it is more than files.
 */
async function comparePairs(
  before: readonly KeyValue[],
  after: readonly KeyValue[],
  causesOf: (old: KeyValue | undefined, now: KeyValue) => Promise<readonly Cause[] | undefined>,
): Promise<SourceComparison> {
  if (before.length !== after.length) return { causes: [], isOther: true };
  const causes: Cause[] = [];
  let isOther = false;
  for (const [i, now] of after.entries()) {
    if (same(before[i], now)) continue;
    const found = await causesOf(before[i], now);
    causes.push(...(found ?? []));
    isOther ||= found === undefined;
  }
  return { causes, isOther };
}

/**
 * Two downloads that differ in what came, or two checkouts that differ in the commit; `undefined`
 * for what differs in more.
 */
function compareFetched(
  [kind, ...before]: readonly KeyValue[],
  [kindNow, ...after]: readonly KeyValue[],
): Cause | undefined {
  if (kind !== kindNow || (kind !== 'http' && kind !== 'git')) return undefined;
  // ['http', name, digest, …] and ['git', commit, …]
  const at = kind === 'http' ? 1 : 0;
  const [old, now] = [before[at], after[at]];
  if (
    typeof old !== 'string' ||
    typeof now !== 'string' ||
    !same(before.toSpliced(at, 1), after.toSpliced(at, 1))
  )
    return undefined;
  return {
    kind: 'fetched',
    name: kind === 'http' ? String(before[0]) : 'the repository',
    before: old,
    after: now,
  };
}

async function compareSelections(
  before: string,
  after: string,
  findManifest: FindManifest,
): Promise<Cause[]> {
  const [old, now] = await Promise.all([findManifest(before), findManifest(after)]);
  if (old === undefined || now === undefined)
    return [{ kind: 'files', source: now?.places[0] ?? old?.places[0] ?? 'a source' }];
  const causes = compareManifests(old, now);
  return causes.length > 0 ? causes : [{ kind: 'files', source: now.places[0] ?? 'a source' }];
}

/** Variables that differ, in the order of their names. */
function compareVariables(
  before: readonly string[],
  after: readonly string[],
  declarations: Declarations | undefined,
): VariableCause[] {
  const [old, now] = [new Map(before.map(splitEnv)), new Map(after.map(splitEnv))];
  const names = [...new Set([...old.keys(), ...now.keys()])]
    .filter((name) => old.get(name) !== now.get(name))
    .sort();
  return names.map((name) => ({
    kind: 'variable',
    name,
    before: old.get(name),
    after: now.get(name),
    ...declarationOf(name, declarations),
  }));
}

/**
 * Which instruction sets a variable last above a step; what is set nowhere comes from the base
 * image.
 */
function declarationOf(
  name: string,
  declarations: Declarations | undefined,
): Pick<VariableCause, 'instruction' | 'line' | 'unused' | 'unnamed'> {
  const above =
    declarations === undefined
      ? []
      : stagesUpTo(declarations).flatMap((stage) =>
          stage.instructions
            .filter((instruction) => instruction.range.start.line < declarations.line)
            .map((instruction) => ({ stage, instruction })),
        );
  const last = above.findLast(({ instruction }) => declares(instruction, name));
  if (last === undefined) return { instruction: 'ENV' };
  const { stage, instruction } = last;
  const line = instruction.range.start.line;
  if (instruction.keyword === 'ENV') return { instruction: 'ENV', line };
  const later = stage.instructions.filter(
    (other) => other.keyword === 'RUN' && other.range.start.line > line,
  );
  const naming = later
    .filter((other) =>
      mentions(
        `${other.original}\n${other.heredocs.map((heredoc) => heredoc.content).join('\n')}`,
        name,
      ),
    )
    .map((other) => other.range.start.line);
  if (naming.length === 0) return { instruction: 'ARG', line, unused: true };
  return {
    instruction: 'ARG',
    line,
    ...(declarations === undefined || naming.includes(declarations.line) ? {} : { unnamed: true }),
  };
}

/** The step's stage and those that it is built on, the lowest first. */
function stagesUpTo({ dockerfile, stage }: Declarations): Stage[] {
  const own = dockerfile.stages.findLast(
    (candidate) => (candidate.name ?? `stage-${candidate.index}`) === stage,
  );
  const chain: Stage[] = [];
  for (let at = own; at !== undefined;) {
    chain.unshift(at);
    const { index, from } = at;
    at = dockerfile.stages
      .slice(0, index)
      .findLast((candidate) => candidate.name === from.image.toLowerCase());
  }
  return chain;
}

function declares(instruction: Instruction, name: string): boolean {
  if (instruction.keyword === 'ARG') return instruction.args.some((arg) => arg.name === name);
  return instruction.keyword === 'ENV' && instruction.pairs.some((pair) => pair.name === name);
}

function mentions(text: string, name: string): boolean {
  return new RegExp(
    `(?<![A-Za-z0-9_])${name.replace(/[^A-Za-z0-9_]/g, '\\$&')}(?![A-Za-z0-9_])`,
  ).test(text);
}

function mountedDigest(mount: KeyValue): string | undefined {
  const content = isRecord(mount) ? mount['content'] : undefined;
  const digest = Array.isArray(content) ? (content as readonly KeyValue[])[1] : undefined;
  return isDigestText(digest) ? digest : undefined;
}

function withoutContent(mount: KeyValue): KeyValue {
  return isRecord(mount) ? { ...mount, content: undefined } : mount;
}

function isRecord(value: KeyValue): value is { readonly [name: string]: KeyValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isDigestText(value: KeyValue): value is string {
  return typeof value === 'string' && value.startsWith('sha256:');
}

function list(value: KeyValue): readonly KeyValue[] {
  return Array.isArray(value) ? (value as readonly KeyValue[]) : [];
}

function texts(value: KeyValue): string[] {
  return list(value).filter((item): item is string => typeof item === 'string');
}

function word(value: KeyValue): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (Array.isArray(value)) return value.join(':');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** What was stored has lost its absent members. */
function same(a: KeyValue, b: KeyValue): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A Dockerfile and its context, to be built by two builders. */
export interface ReferenceCase {
  /** `topic: name`, unique. */
  readonly id: string;
  /** Text of the Dockerfile; empty when the setup writes it. */
  readonly dockerfile: string;
  /** A shell script that fills the context, which is its working directory. */
  readonly setup: string;
  /** More files of the context: path → content. */
  readonly files: ReadonlyMap<string, string>;
  /** Flags of the build, alike for both builders. */
  readonly args: readonly string[];
  /** Variables of the builders' environment. */
  readonly env: readonly string[];
  readonly deviation?: Deviation | undefined;
  /** Differences that say nothing in this case. */
  readonly noise?: RegExp | undefined;
}

/** A difference that is meant. */
export interface Deviation {
  readonly reason: string;
  /** The very lines that are to be printed for it. */
  readonly lines: readonly string[];
}

/** An image that cases of a topic start from: built by the reference, pushed beside the base. */
export interface ReferenceImage {
  readonly name: string;
  readonly dockerfile: string;
  readonly args: readonly string[];
  /** JSON: the base's config with these members instead of its own, and no Dockerfile. */
  readonly config?: string | undefined;
}

/** Everything in a folder of topic files. */
export interface CaseSet {
  readonly images: readonly ReferenceImage[];
  readonly cases: readonly ReferenceCase[];
}

/**
 * Reads `*.txt` of a folder. A file is a list of blocks, each begun by a line `@@ KIND REST`:
 *
 *     @@ setup           before the first case: for every case of the file; behind one: for that case, afterwards
 *     @@ image NAME      a Dockerfile, built without a context; @NAME@ stands for its reference
 *     @@ config NAME     the base with other members of its config, as JSON; @NAME@ stands for its reference
 *     @@ case NAME       a Dockerfile
 *     @@ file PATH       a file of the case's context
 *     @@ args …          flags, one a line; @context@ stands for the folder
 *     @@ env …           NAME=value, one a line
 *     @@ deviation WHY   the lines that the case is meant to print
 */
export function readCases(folder: string): CaseSet {
  const topics = readdirSync(folder)
    .filter((name) => name.endsWith('.txt'))
    .sort();
  const sets = topics.map((name) =>
    readTopic(path.basename(name, '.txt'), readFileSync(path.join(folder, name), 'utf8')),
  );
  return { images: sets.flatMap((set) => set.images), cases: sets.flatMap((set) => set.cases) };
}

interface Block {
  readonly kind: string;
  readonly rest: string;
  readonly text: string;
}

function readTopic(topic: string, text: string): CaseSet {
  const images: ReferenceImage[] = [];
  const cases: ReferenceCase[] = [];
  let shared = '';
  for (const group of grouped(blocksOf(text))) {
    const [first, ...more] = group;
    if (first === undefined) continue;
    const all = (kind: string): string[] =>
      more.filter((block) => block.kind === kind).map((block) => block.text);
    const lines = (kind: string): string[] =>
      all(kind).flatMap((lines) => lines.split('\n').filter((line) => line !== ''));
    if (first.kind === 'setup') shared += first.text;
    else if (first.kind === 'image')
      images.push({ name: first.rest, dockerfile: first.text, args: lines('args') });
    else if (first.kind === 'config')
      images.push({ name: first.rest, dockerfile: '', args: [], config: first.text });
    else {
      const deviation = more.find((block) => block.kind === 'deviation');
      cases.push({
        id: `${topic}: ${first.rest}`,
        dockerfile: first.text,
        setup: shared + all('setup').join(''),
        args: lines('args'),
        env: lines('env'),
        files: new Map(
          more.filter((block) => block.kind === 'file').map((block) => [block.rest, block.text]),
        ),
        deviation: deviation && {
          reason: deviation.rest,
          lines: deviation.text.split('\n').filter((line) => line !== ''),
        },
      });
    }
  }
  return { images, cases };
}

function blocksOf(text: string): Block[] {
  const parts = text.split(/^@@ /m).slice(1);
  return parts.map((part) => {
    const [, kind = '', rest = '', body = ''] = /^(\S+)[ ]?([^\n]*)\n([^]*)$/.exec(part) ?? [];
    // The empty line before the next block is for the reader.
    return { kind, rest, text: body.replace(/\n\n$/, '\n') };
  });
}

/** Each case or image with the blocks that belong to it. */
function grouped(blocks: readonly Block[]): Block[][] {
  const groups: Block[][] = [];
  for (const block of blocks) {
    const begins = ['case', 'image', 'config'].includes(block.kind) || groups.length === 0;
    if (begins) groups.push([block]);
    else groups.at(-1)?.push(block);
  }
  return groups;
}

import { readFileSync } from 'node:fs';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { jsonText } from '../../diagnostics/visible';
import { RemoteName } from '../../images/transfer/attestations';
import { listedManifests, type ListedManifest } from '../../images/transfer/manifest-list';
import type { Annotation } from '../../oci/annotations';
import { isDigest } from '../../oci/digest';
import { isIndexType } from '../../oci/media-types';
import { formatPlatform, samePlatform, type Platform } from '../../oci/platform';
import { formatReference, parseReference, type Reference } from '../../oci/reference';
import { indexOfManifests } from '../../output/image-index';
import { rawManifest } from '../../output/push';
import { pushJoined } from '../../output/push-list';
import type { RawManifest, Registry } from '../../registry/registry';
import { defineCommand } from '../command';
import { imagetoolsFormat, imagetoolsText } from '../format/imagetools';
import { readAnnotations } from '../output-options';
import { withTransfer } from '../progress';
import { fullName, readPlatform, withServices } from '../services';
import { splitCsv } from '../../diagnostics/csv';
import { usage } from '../usage';

export const imagetoolsInspect = defineCommand({
  name: 'imagetools inspect',
  summary: 'Show what a name of a registry stands for, and what is attested of it',
  usage: ['[OPTIONS] NAME'],
  positionals: { min: 1, max: 1 },
  flags: {
    builder: {
      kind: 'string',
      value: 'NAME',
      hidden: true,
      ignored: 'there is one builder',
      help: "Docker's builder",
    },
    format: {
      kind: 'string',
      value: 'TEMPLATE',
      help: 'A Go template of .Name, .Manifest, .Image, .Provenance and .SBOM',
    },
    raw: { kind: 'boolean', help: 'Print the manifest as the registry has it' },
  },
  run: ({ flags, positionals: [name = ''] }, host) =>
    withServices(host, flags, async (services) => {
      if (flags.raw && flags.format !== undefined)
        throw usage('--raw and --format say different things', 'leave one of them away');
      const remote = await RemoteName.open(referenceOf(name), services.registry, host.signal);
      if (flags.raw) host.out.write(remote.top.bytes.toString('utf8'));
      else if (flags.format === undefined) host.out.write(imagetoolsText(remote));
      else host.out.write(`${await imagetoolsFormat(name, remote, flags.format)}\n`);
      return 0;
    }),
});

export const imagetoolsCreate = defineCommand({
  name: 'imagetools create',
  summary: 'Join images of registries under one name, without pulling them',
  usage: ['[OPTIONS] [SOURCE...]'],
  positionals: { min: 0, max: Infinity },
  flags: {
    annotation: {
      kind: 'list',
      value: '[LEVEL:]KEY=VALUE',
      help: "Add an annotation: 'index:' or 'manifest-descriptor[PLATFORM]:' before it",
    },
    append: { kind: 'boolean', help: 'Add to what the name stands for already' },
    builder: {
      kind: 'string',
      value: 'NAME',
      hidden: true,
      ignored: 'there is one builder',
      help: "Docker's builder",
    },
    'dry-run': { kind: 'boolean', help: 'Print what would be pushed, and push nothing' },
    file: {
      kind: 'list',
      short: 'f',
      value: 'FILE',
      help: 'Read a source from a file: a name, a digest, a descriptor or a metadata file',
    },
    platform: { kind: 'list', value: 'OS/ARCH', help: 'Take images of these platforms alone' },
    'prefer-index': {
      kind: 'string',
      value: 'BOOL',
      choices: ['true', 'false'],
      fallback: 'true',
      help: 'An index of a single source, too, where that is an image',
    },
    progress: {
      kind: 'string',
      value: 'MODE',
      fallback: 'auto',
      help: "'quiet' or 'none' shows no progress",
    },
    tag: { kind: 'list', short: 't', value: 'NAME', help: 'The name that is made' },
  },
  notes: [
    'A SOURCE is a name, NAME@DIGEST, or a digest in the repository of --tag. Of an index all images are taken, with what is',
    'attested of them. Layers that the repository lacks are mounted or copied.',
  ],
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, async ({ registry }) => {
      const tags = flags.tag.map(referenceOf);
      if (tags.length === 0 && !flags['dry-run'])
        throw usage('there is no name to push to', 'set --tag, or --dry-run');
      const texts = [...positionals, ...flags.file.map(readSource)];
      const sources = texts.map((text) => sourceOf(text, tags));
      if (flags.append) sources.unshift(...tags.slice(0, 1));
      if (sources.length === 0) throw usage('there is no source', 'name an image, or --file');
      const joined = await join(sources, registry, {
        annotations: readAnnotations(flags.annotation),
        platforms: flags.platform.flatMap(splitCsv).map(readPlatform),
        preferIndex: flags['prefer-index'] === 'true' && !flags.append,
        signal: host.signal,
      });
      if (flags['dry-run']) {
        host.out.write(`${jsonText(JSON.parse(joined.top.bytes.toString('utf8')), 2)}\n`);
        return 0;
      }
      const isQuiet = ['quiet', 'none'].includes(flags.progress);
      await withTransfer(host, 'push', isQuiet, async (scope) => {
        for (const tag of tags)
          await pushJoined(joined.top, joined.listed, tag, { registry, vertex: 1, scope });
      });
      for (const tag of tags)
        host.out.write(`${formatReference({ ...tag, digest: joined.top.descriptor.digest })}\n`);
      return 0;
    }),
});

/** How sources are joined. */
interface Joining {
  readonly annotations: readonly Annotation[];
  /** All where there are none. */
  readonly platforms: readonly Platform[];
  /** A single image becomes an index. */
  readonly preferIndex: boolean;
  readonly signal: AbortSignal;
}

/** What is to be pushed, and the manifests that it lists. */
interface Joined {
  readonly top: RawManifest;
  readonly listed: readonly ListedManifest[];
}

/**
 * One index of all images of the sources, each once. A single source that needs no change stays
 * what it is.
 */
async function join(
  sources: readonly Reference[],
  registry: Registry,
  { annotations, platforms, preferIndex, signal }: Joining,
): Promise<Joined> {
  const found: ListedManifest[] = [];
  for (const source of sources) found.push(...(await listedManifests(source, registry, signal)));
  const listed = [...new Map(found.map((one) => [one.descriptor.digest, one])).values()].filter(
    (one, _i, all) => platforms.length === 0 || isFor(one, platforms, all),
  );
  if (listed.length === 0)
    throw new MbuildError('IMAGE_NOT_FOUND', 'no image of the sources is for these platforms', {
      hint: `they are for ${found.map(({ descriptor }) => titleOf(descriptor.platform)).join(', ')}`,
    });
  const [only, ...others] = sources;
  const isChanged = annotations.length > 0 || listed.length < found.length;
  if (only !== undefined && others.length === 0 && !isChanged) {
    const top = await registry.manifest(only, signal);
    if (isIndexType(top.descriptor.mediaType) || !preferIndex) return { top, listed };
  }
  const index = indexOfManifests(
    listed.map(({ descriptor }) => withAnnotations(descriptor, annotations)),
    pairsAt('index', annotations),
  );
  return { top: await rawManifest(index), listed };
}

/** Whether an image is for one of the platforms, or says something of one that is. */
function isFor(
  { descriptor }: ListedManifest,
  platforms: readonly Platform[],
  all: readonly ListedManifest[],
): boolean {
  const about = descriptor.annotations?.['vnd.docker.reference.digest'];
  const subject =
    about === undefined
      ? descriptor
      : all.find((one) => one.descriptor.digest === about)?.descriptor;
  const { platform } = subject ?? {};
  return platform !== undefined && platforms.some((wanted) => samePlatform(wanted, platform));
}

function titleOf(platform: Platform | undefined): string {
  return platform === undefined ? 'no platform' : formatPlatform(platform);
}

function withAnnotations(
  descriptor: ListedManifest['descriptor'],
  annotations: readonly Annotation[],
): ListedManifest['descriptor'] {
  const { platform } = descriptor;
  const title = platform === undefined ? '' : formatPlatform(platform);
  const own = annotations.filter((one) => one.platform === undefined || one.platform === title);
  const added = title.startsWith('unknown') ? {} : pairsAt('manifest-descriptor', own);
  if (Object.keys(added).length === 0) return descriptor;
  return { ...descriptor, annotations: { ...descriptor.annotations, ...added } };
}

function pairsAt(
  level: Annotation['level'],
  annotations: readonly Annotation[],
): Record<string, string> {
  const other = annotations.find((one) => !['index', 'manifest-descriptor'].includes(one.level));
  if (other !== undefined)
    throw new MbuildError(
      'UNSUPPORTED',
      `--annotation ${other.level}:${other.key} is not possible`,
      {
        hint: 'images stay what they are: use index: or manifest-descriptor: before the key',
      },
    );
  return Object.fromEntries(
    annotations.filter((one) => one.level === level).map(({ key, value }) => [key, value]),
  );
}

/** A file holds a name or a digest, a descriptor, or what `--metadata-file` of a build wrote. */
function readSource(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw usage(`cannot read --file ${file} (${errnoOf(error) ?? 'error'})`);
  }
  if (!text.startsWith('{')) return text;
  return digestIn(text) ?? fail(file);
}

function fail(file: string): never {
  throw usage(`--file ${file} holds no digest`, 'it is a descriptor or the metadata of a build');
}

/** The digest of a descriptor, or of a build's metadata with the name that it was pushed under. */
function digestIn(text: string): string | undefined {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  const digest = value['containerimage.digest'] ?? value['digest'];
  if (typeof digest !== 'string' || !isDigest(digest)) return undefined;
  const name = value['image.name'];
  const ref = typeof name === 'string' ? parseReference(name.split(',')[0] ?? '') : undefined;
  return ref === undefined ? digest : formatReference({ ...ref, tag: undefined, digest });
}

/** A digest alone, or a descriptor, is looked for where the result goes. */
function sourceOf(text: string, [first]: readonly Reference[]): Reference {
  const digest = text.startsWith('{') ? (digestIn(text) ?? text) : text;
  if (!isDigest(digest)) return referenceOf(digest);
  if (first === undefined)
    throw usage(`${digest} is a digest without a repository`, 'set --tag, or write NAME@DIGEST');
  return { registry: first.registry, repository: first.repository, digest };
}

function referenceOf(text: string): Reference {
  const ref = parseReference(fullName(text));
  if (ref === undefined)
    throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`);
  return ref;
}

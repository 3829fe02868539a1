import { jsonText } from '../../diagnostics/visible';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import type { Engine } from '../../engine';
import {
  ManifestLists,
  entryOf,
  listedImages,
  listedManifests,
  withManifests,
  type ListedManifest,
  type ManifestList,
} from '../../images/transfer/manifest-list';
import { mountSources } from '../../images/transfer/mount-sources';
import { isIndexType } from '../../oci/media-types';
import { formatReference, parseReference, type Reference } from '../../oci/reference';
import { indexOfManifests } from '../../output/image-index';
import { pushManifestList } from '../../output/push-list';
import { defineCommand } from '../command';
import { withTransfer } from '../progress';
import { fullName, withServices } from '../services';

export const manifestCreate = defineCommand({
  name: 'manifest create',
  summary: 'Make a list of images for several platforms, to push them under one name',
  usage: ['[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]'],
  positionals: { min: 1, max: Infinity },
  flags: {
    amend: { kind: 'boolean', short: 'a', help: 'Add to an existing list' },
    annotation: { kind: 'list', value: 'KEY=VALUE', help: 'Add an annotation to the list' },
    insecure: {
      kind: 'boolean',
      hidden: true,
      ignored: 'use --insecure-registry HOST',
      help: 'Allow insecure registries',
    },
  },
  notes: [
    'A MANIFEST is an image in a registry, or else in the store; of an index, all its images are added.',
  ],
  run: ({ flags, positionals: [text = '', ...sources] }, host) =>
    withServices(host, flags, async (services) => {
      const lists = new ManifestLists(services.root);
      const name = fullName(text);
      const there = lists.get(name);
      if (there !== undefined && !flags.amend)
        throw new MbuildError(
          'USAGE',
          `refusing to amend an existing manifest list with no --amend flag: ${text}`,
        );
      let list: ManifestList = there ?? { name, manifests: [] };
      for (const source of sources)
        list = withManifests(list, await resolve(referenceOf(source), services, host.signal));
      const annotations = { ...list.annotations, ...pairs(flags.annotation) };
      lists.put({ ...list, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) });
      host.out.write(`Created manifest list ${name}\n`);
      return 0;
    }),
});

export const manifestAnnotate = defineCommand({
  name: 'manifest annotate',
  summary: 'Describe an image of a list',
  usage: ['[OPTIONS] MANIFEST_LIST MANIFEST'],
  positionals: { min: 2, max: 2 },
  flags: {
    annotation: { kind: 'list', value: 'KEY=VALUE', help: 'Add an annotation' },
    arch: { kind: 'string', value: 'ARCH', help: 'Set the architecture' },
    os: { kind: 'string', value: 'OS', help: 'Set the operating system' },
    'os-features': {
      kind: 'list',
      value: 'FEATURE',
      help: 'Set a feature of the operating system',
    },
    'os-version': {
      kind: 'string',
      value: 'VERSION',
      help: 'Set the version of the operating system',
    },
    variant: { kind: 'string', value: 'VARIANT', help: 'Set the variant of the architecture' },
  },
  run: ({ flags, positionals: [text = '', wanted = ''] }, host) =>
    withServices(host, flags, (services) => {
      const lists = new ManifestLists(services.root);
      const list = existing(lists, text);
      const at = entryOf(
        list,
        wanted,
        parseReference(wanted) === undefined ? undefined : fullName(wanted),
      );
      const features = flags['os-features'].flatMap((feature) => feature.split(','));
      const annotated = list.manifests.map((entry, i): ListedManifest => {
        if (i !== at) return entry;
        const { platform = { os: 'linux', architecture: 'unknown' }, annotations } =
          entry.descriptor;
        const added = { ...annotations, ...pairs(flags.annotation) };
        return {
          ...entry,
          descriptor: {
            ...entry.descriptor,
            platform: {
              ...platform,
              ...(flags.os === undefined ? {} : { os: flags.os }),
              ...(flags.arch === undefined ? {} : { architecture: flags.arch }),
              ...(flags.variant === undefined ? {} : { variant: flags.variant }),
              ...(flags['os-version'] === undefined ? {} : { 'os.version': flags['os-version'] }),
              ...(features.length === 0 ? {} : { 'os.features': features }),
            },
            ...(Object.keys(added).length === 0 ? {} : { annotations: added }),
          },
        };
      });
      lists.put({ ...list, manifests: annotated });
      return 0;
    }),
});

export const manifestInspect = defineCommand({
  name: 'manifest inspect',
  summary: 'Show a manifest or a list of manifests',
  usage: ['[OPTIONS] [MANIFEST_LIST] MANIFEST'],
  positionals: { min: 1, max: 2 },
  flags: {
    insecure: {
      kind: 'boolean',
      hidden: true,
      ignored: 'use --insecure-registry HOST',
      help: 'Allow insecure registries',
    },
    verbose: { kind: 'boolean', short: 'v', help: 'Show names and platforms too' },
  },
  run: ({ flags, positionals: [first = '', second] }, host) =>
    withServices(host, flags, async (services) => {
      const print = (value: unknown): void => host.out.write(`${jsonText(value, 3)}\n`);
      const list = new ManifestLists(services.root).get(fullName(first));
      if (list !== undefined && second === undefined) {
        print(
          flags.verbose ? await verbose(list.manifests, services, host.signal) : await jsonOf(list),
        );
        return 0;
      }
      const ref = referenceOf(second ?? first);
      const entry =
        list === undefined
          ? undefined
          : list.manifests[entryOf(list, second ?? first, formatReference(ref))];
      const manifest = await services.registry.manifest(
        entry === undefined ? ref : { ...ref, tag: undefined, digest: entry.descriptor.digest },
        host.signal,
      );
      const isIndex = isIndexType(manifest.descriptor.mediaType);
      if (!flags.verbose) print(JSON.parse(manifest.bytes.toString('utf8')));
      else
        print(
          await verbose(
            await listedManifests(ref, services.registry, host.signal),
            services,
            host.signal,
          ).then((all) => (isIndex ? all : all[0])),
        );
      return 0;
    }),
});

export const manifestPush = defineCommand({
  name: 'manifest push',
  summary: 'Push a list of manifests under its name',
  usage: ['[OPTIONS] MANIFEST_LIST'],
  positionals: { min: 1, max: 1 },
  flags: {
    insecure: {
      kind: 'boolean',
      hidden: true,
      ignored: 'use --insecure-registry HOST',
      help: 'Allow insecure registries',
    },
    purge: { kind: 'boolean', short: 'p', help: 'Delete the list afterwards' },
    quiet: { kind: 'boolean', short: 'q', help: 'Show no progress' },
  },
  run: ({ flags, positionals: [text = ''] }, host) =>
    withServices(host, flags, async (services) => {
      const lists = new ManifestLists(services.root);
      const list = existing(lists, text);
      if (list.manifests.length === 0)
        throw new MbuildError('IMAGE_INVALID', `${text} lists no manifests`);
      const { digest } = await withTransfer(host, 'push', flags.quiet, (scope) =>
        pushManifestList(list, {
          services,
          registry: services.registry,
          mountFrom: mountSources(services),
          vertex: 1,
          scope,
        }),
      );
      if (flags.purge) lists.delete(list.name);
      host.out.write(`${digest}\n`);
      return 0;
    }),
});

export const manifestRm = defineCommand({
  name: 'manifest rm',
  summary: 'Delete lists that were not pushed, or not purged',
  usage: ['MANIFEST_LIST [MANIFEST_LIST...]'],
  positionals: { min: 1, max: Infinity },
  flags: {},
  run: ({ flags, positionals }, host) =>
    withServices(host, flags, (services) => {
      const lists = new ManifestLists(services.root);
      for (const list of positionals.map((text) => existing(lists, text))) lists.delete(list.name);
      return 0;
    }),
});

/** In the registry, as docker looks for it; else in the store. */
async function resolve(
  ref: Reference,
  services: Engine,
  signal: AbortSignal,
): Promise<ListedManifest[]> {
  try {
    return await listedManifests(ref, services.registry, signal);
  } catch (error) {
    const name = formatReference(ref);
    const images = services.images.named(name);
    const isElsewhere = [
      'IMAGE_NOT_FOUND',
      'REGISTRY_UNREACHABLE',
      'REGISTRY_DENIED',
      'TLS_FAILED',
      'NOT_ALLOWED',
    ].some((code) => isMbuildError(error) && error.code === code);
    if (images.length === 0 || !isElsewhere) throw error;
    return listedImages(images, name);
  }
}

async function jsonOf(list: ManifestList): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of indexOfManifests(
    list.manifests.map(({ descriptor }) => descriptor),
    list.annotations,
  ).open())
    chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/** docker's form: each with its name, its descriptor and the manifest itself. */
async function verbose(
  entries: readonly ListedManifest[],
  services: Engine,
  signal: AbortSignal,
): Promise<unknown[]> {
  const views: unknown[] = [];
  for (const { source, descriptor, image } of entries) {
    const ref = referenceOf(source);
    const bytes =
      image === undefined
        ? (
            await services.registry.manifest(
              { registry: ref.registry, repository: ref.repository, digest: descriptor.digest },
              signal,
            )
          ).bytes
        : services.content.read(descriptor.digest);
    const member = descriptor.mediaType.includes('docker') ? 'SchemaV2Manifest' : 'OCIManifest';
    views.push({
      Ref: source,
      Descriptor: descriptor,
      Raw: bytes.toString('base64'),
      [member]: JSON.parse(bytes.toString('utf8')),
    });
  }
  return views;
}

function existing(lists: ManifestLists, text: string): ManifestList {
  const list = lists.get(fullName(text));
  if (list === undefined)
    throw new MbuildError('IMAGE_NOT_FOUND', `no such manifest list: ${text}`, {
      hint: 'make it with: mbuild manifest create',
    });
  return list;
}

function referenceOf(text: string): Reference {
  const ref = parseReference(fullName(text));
  if (ref === undefined)
    throw new MbuildError('REFERENCE_INVALID', `invalid reference format: ${JSON.stringify(text)}`);
  return ref;
}

function pairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1)
        throw new MbuildError('USAGE', `invalid --annotation ${JSON.stringify(text)}`, {
          hint: 'write KEY=VALUE',
        });
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

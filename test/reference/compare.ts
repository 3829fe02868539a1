import type { ImageContent, Inode } from './layout';

/** What a builder made of a case. */
export type Outcome =
  | { readonly kind: 'built'; readonly image: ImageContent }
  | { readonly kind: 'refused'; readonly message: string };

/**
 * Times up to here were set on purpose (files of a context) and are to be kept; later ones are
 * those of the build. BuildKit's directories have times of earlier contexts.
 */
const LAST_SET_TIME = 1_200_000_000;

/** One line per difference, `what: the reference's ≠ mbuild's`; none when the outcomes agree. */
export function differences(reference: Outcome, ours: Outcome): string[] {
  if (reference.kind === 'refused' && ours.kind === 'refused') return [];
  if (reference.kind === 'refused') return ['refused ≠ built'];
  if (ours.kind === 'refused') return ['built ≠ refused'];
  return [
    ...treeDifferences(reference.image.tree, ours.image.tree),
    ...layerDifferences(reference.image.layers, ours.image.layers),
    ...valueDifferences('config', configOf(reference.image), configOf(ours.image)),
  ];
}

function treeDifferences(reference: ImageContent['tree'], ours: ImageContent['tree']): string[] {
  const paths = [...new Set([...Object.keys(reference), ...Object.keys(ours)])].sort();
  return paths.flatMap((path) => {
    const [a, b] = [reference[path], ours[path]];
    if (path === '/' && (a === undefined || b === undefined)) return [];
    if (a === undefined) return [`tree ${path}: absent ≠ ${b?.type}`];
    if (b === undefined) return [`tree ${path}: ${a.type} ≠ absent`];
    const [shownA, shownB] = [shown(a, reference), shown(b, ours)];
    if (a.mtime > LAST_SET_TIME || a.type === 'directory') shownA.mtime = shownB.mtime = '';
    return Object.keys(shownA).flatMap((key) =>
      shownA[key] === shownB[key] ? [] : [`tree ${path}: ${key} ${shownA[key]} ≠ ${shownB[key]}`],
    );
  });
}

function shown(inode: Inode, tree: ImageContent['tree']): Record<string, string> {
  const { type, mode, uid, gid, size, sha256, link, device, xattrs, mtime } = inode;
  const links =
    type === 'directory'
      ? []
      : Object.keys(tree).filter((path) => tree[path]?.inode === inode.inode);
  return {
    type,
    mode: mode.toString(8).padStart(4, '0'),
    owner: `${uid}:${gid}`,
    size: String(size),
    sha256: sha256.slice(0, 12),
    link,
    device,
    xattrs: JSON.stringify(xattrs),
    links: links.length > 1 ? links.join(' ') : '',
    mtime: String(mtime),
  };
}

/**
 * BuildKit makes a layer of a step that changed nothing, mbuild none: such layers count as absent
 * on both sides. How a layer says what is deleted (each name, or the directory made anew) is not
 * compared: what it does is seen in the tree.
 */
function layerDifferences(
  reference: ImageContent['layers'],
  ours: ImageContent['layers'],
): string[] {
  const withEntries = (layers: ImageContent['layers']): string[][] =>
    layers
      .filter((paths) => paths.length > 0)
      .map((paths) => paths.filter((path) => !path.includes('/.wh.')));
  const [made, others] = [withEntries(reference), withEntries(ours)];
  if (made.length !== others.length) return [`layers: ${made.length} ≠ ${others.length}`];
  return made.flatMap((paths, i) => {
    const own = others[i] ?? [];
    return [
      ...paths
        .filter((path) => !own.includes(path))
        .map((path) => `layer ${i} ${path}: listed ≠ absent`),
      ...own
        .filter((path) => !paths.includes(path))
        .map((path) => `layer ${i} ${path}: absent ≠ listed`),
    ];
  });
}

/** The parts of the config that do not speak of times of the build, digests or the builder. */
function configOf({ config, layers }: ImageContent): Record<string, unknown> {
  let layer = 0;
  const history = ((config.history ?? []) as Record<string, unknown>[]).map((item) => {
    const isEmpty = item.empty_layer === true || layers[layer++]?.length === 0;
    return { ...item, empty_layer: isEmpty };
  });
  return {
    architecture: config.architecture,
    os: config.os,
    variant: config.variant,
    created: setTime(config.created),
    author: config.author,
    config: config.config,
    history: history.map((item: Record<string, unknown>) => ({
      created: setTime(item.created),
      created_by: withoutHealth(item.created_by),
      empty_layer: item.empty_layer,
      author: item.author,
      comment: item.comment,
    })),
  };
}

/**
 * Dockerfile 1.24 writes a HEALTHCHECK otherwise than docker 28.5 does; what it says is in the
 * config, which is compared.
 */
function withoutHealth(createdBy: unknown): unknown {
  return typeof createdBy === 'string'
    ? createdBy.replace(/^HEALTHCHECK &?\{.*\}$/s, 'HEALTHCHECK')
    : createdBy;
}

/** A time that was set on purpose, in seconds; nothing for that of the build. */
function setTime(text: unknown): number | undefined {
  const seconds = typeof text === 'string' ? Date.parse(text) / 1000 : Number.NaN;
  return seconds <= LAST_SET_TIME ? seconds : undefined;
}

function valueDifferences(where: string, a: unknown, b: unknown): string[] {
  if (isRecord(a) || isRecord(b)) {
    const [left, right] = [recordOf(a), recordOf(b)];
    return [...new Set([...Object.keys(left), ...Object.keys(right)])]
      .sort()
      .flatMap((key) => valueDifferences(`${where}.${key}`, left[key], right[key]));
  }
  if (where.endsWith('.history') && Array.isArray(a) && Array.isArray(b)) {
    return Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
      valueDifferences(`history ${i}`, a[i], b[i]),
    ).flat();
  }
  const [left, right] = [JSON.stringify(a) ?? 'absent', JSON.stringify(b) ?? 'absent'];
  return left === right ? [] : [`${where}: ${left} ≠ ${right}`];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function recordOf(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {};
}

import type { BuildRun } from './build-run';
import type { BuildOptions, OutputSpec } from './options';
import type { Image } from '../images/store/image-store';
import { needIndex } from '../oci/annotations';
import type { Descriptor } from '../oci/image';
import { formatReference, parseReference } from '../oci/reference';
import type { Exported, Outgoing } from '../output/exporter';
import type { AnyOutput, OutgoingResult } from '../output/kinds/kind';
import { outputKind, traitsOf } from '../output/kinds/kinds';
import { withRow } from '../progress/events';

/** An image that was made, and what it is among those of its build. */
export interface MadeImage {
  readonly image: Image;
  /** Layers that the store lacks. Then the image is not in the store either. */
  readonly elsewhere?: Outgoing['elsewhere'];
  readonly names: readonly string[];
  readonly target: string | undefined;
  readonly platform: string;
  /** Images of one target for several platforms have the same number. */
  readonly group: number | undefined;
  /** What is said of it. */
  readonly attestations?: Outgoing['attestations'];
}

/**
 * Whether the image is to have its names in the store: without `--output`, and where an output says
 * so.
 */
export function wantsStore({ outputs = [] }: BuildOptions): boolean {
  return outputs.length === 0 || outputs.some((output) => traitsOf(output).inStore);
}

/** Whether it gets them when it is recorded. */
export function wantsNames({ outputs = [] }: BuildOptions): boolean {
  return (
    outputs.length === 0 || outputs.map(traitsOf).some(({ inStore, isNamed }) => inStore && isNamed)
  );
}

/** Whether the result is an image at all, and not only its files. */
export function wantsImage({ outputs = [] }: BuildOptions): boolean {
  return outputs.length === 0 || outputs.some((output) => traitsOf(output).result === 'image');
}

/**
 * Whether layers are wanted as the blobs that they are elsewhere, if they are wanted at all: none
 * need be unpacked for the outputs. Who lists an image's packages reads its layers.
 */
export function takesOnlyBlobs({ outputs = [], attestations }: BuildOptions): boolean {
  if (attestations?.sbom !== undefined) return false;
  return outputs.length > 0 && outputs.every((output) => traitsOf(output).takesBlobs);
}

/** Whether images that belong together, or a single one, leave with an index. */
export function wantsIndex(options: BuildOptions): boolean {
  const asked = ['1', 'true'].includes(options.buildArgs?.['BUILDKIT_MULTI_PLATFORM'] ?? '');
  const { annotations, attestations, outputs = [] } = options;
  if (attestations !== undefined && outputs.some(keepsInIndex)) return true;
  return asked || needIndex(annotations) || outputs.some((output) => needIndex(output.annotations));
}

/** Whether attestations go where an output goes: beside images in their index, or beside files. */
export function keepsAttestations({ outputs = [] }: BuildOptions): boolean {
  return outputs.some((output) => keepsInIndex(output) || traitsOf(output).result === 'files');
}

function keepsInIndex(output: OutputSpec): boolean {
  const { indexes, title } = traitsOf(output);
  return indexes && title !== undefined;
}

/** Whether layers that are made will leave as gzip of no given level. */
export function leavesAsGzip({ outputs = [] }: BuildOptions): boolean {
  return outputs.some((output: AnyOutput) => {
    const kind = outputKind(output.type);
    const traits = kind.traits(output);
    if (traits.title === undefined || traits.result !== 'image') return false;
    const { type, level } = output.compression ?? { type: traits.layers };
    return type === 'gzip' && level === undefined;
  });
}

/**
 * Takes the images to each place that was asked for; returns the manifests as they left, or the
 * store's: the index where there is one.
 */
export async function exportImages(
  made: readonly MadeImage[],
  run: BuildRun,
): Promise<readonly Descriptor[]> {
  let descriptors = made.map(({ image }) => image.descriptor);
  for (const output of run.options.outputs ?? []) {
    const exported = await exportTo(output, made, run);
    if (exported !== undefined) descriptors = descriptorsOf(made, exported, descriptors);
    nameByDigest(output, made, descriptors, run);
  }
  for (const { image } of made)
    if (!wantsStore(run.options) && image.names.length === 0) run.engine.images.remove(image.id);
  return descriptors;
}

async function exportTo(
  output: AnyOutput,
  made: readonly MadeImage[],
  run: BuildRun,
): Promise<Exported | undefined> {
  const { options, engine: services, newVertex, scope } = run;
  const kind = outputKind(output.type);
  const traits = kind.traits(output);
  const outgoing = made.map((one) => outgoingOf(one, made, output, options));
  if (traits.inStore && traits.isNamed) nameInStore(made, outgoing, run);
  if (traits.title === undefined) return undefined;
  const { sourceDateEpoch } = options;
  const annotations = [...(options.annotations ?? []), ...(output.annotations ?? [])];
  return withRow(traits.title, newVertex(), scope, async (vertex) => {
    const text = timesNote(output, sourceDateEpoch);
    if (text !== undefined) scope.events({ kind: 'note', id: vertex, text });
    return kind.export(output, outgoing, {
      ...{ services, vertex, scope },
      ...{ annotations, sourceDateEpoch },
    });
  });
}

function outgoingOf(
  one: MadeImage,
  made: readonly MadeImage[],
  output: AnyOutput,
  options: BuildOptions,
): OutgoingResult {
  const { image, elsewhere, group, platform } = one;
  const isAlone = group === undefined || made.filter((other) => other.group === group).length === 1;
  const { indexes, result } = outputKind(output.type).traits(output);
  return {
    ...{ image, elsewhere, platform },
    attestations: indexes || result === 'files' ? one.attestations : undefined,
    names: namesFor(one, output, options),
    // An index of a single image is for who can have one.
    group: isAlone && !indexes ? undefined : group,
    directory: directoryOf(one, made, isAlone),
  };
}

/** An output's own names stand for those of the build, unless several targets have one each. */
function namesFor(
  { names }: MadeImage,
  output: AnyOutput,
  { targets = [] }: BuildOptions,
): readonly string[] {
  const own = output.names ?? [];
  return own.length > 0 && targets.length < 2 ? own.map(fullName) : names;
}

function fullName(text: string): string {
  const ref = parseReference(text);
  return ref === undefined ? text : formatReference(ref);
}

/**
 * The directory of an image's files where there are several images, named as BuildKit names those
 * of platforms.
 */
function directoryOf(
  { target, platform }: MadeImage,
  made: readonly MadeImage[],
  isAlone: boolean,
): string {
  const isForTargets = new Set(made.map((one) => one.target)).size > 1;
  return [
    ...(isForTargets && target !== undefined ? [target] : []),
    ...(isAlone ? [] : [platform.replaceAll('/', '_')]),
  ].join('/');
}

function nameInStore(
  made: readonly MadeImage[],
  outgoing: readonly OutgoingResult[],
  { engine: { images } }: BuildRun,
): void {
  outgoing.forEach(({ image, names, elsewhere }, i) => {
    if (elsewhere !== undefined) return;
    const further = names.filter((name) => made[i]?.names.includes(name) !== true);
    // Naming one image anew takes the name from those of other platforms.
    if (made[i]?.group === undefined) for (const name of further) images.tag(image.id, name);
    else images.put(image, further);
  });
}

/** NAME@DIGEST finds an image that was pushed, or that is to be found so. */
function nameByDigest(
  output: AnyOutput,
  made: readonly MadeImage[],
  descriptors: readonly Descriptor[],
  { options, engine: { images } }: BuildRun,
): void {
  const { isCanonical, danglingPrefix } = outputKind(output.type).traits(output);
  made.forEach((one, i) => {
    const names = namesFor(one, output, options);
    const unnamed = danglingPrefix === undefined ? [] : [danglingPrefix];
    const { digest } = descriptors[i] ?? one.image.descriptor;
    for (const name of names.length === 0 ? unnamed : names)
      if (isCanonical || names.length === 0) images.addDigest(one.image.id, name, digest);
  });
}

/** The manifests, each replaced by what left for it: the index where there is one. */
function descriptorsOf(
  made: readonly MadeImage[],
  exported: Exported,
  before: readonly Descriptor[],
): Descriptor[] {
  const groups = [...new Set(made.flatMap(({ group }) => group ?? []))];
  return before.map((descriptor, i) => {
    const group = made[i]?.group;
    const index = group === undefined ? undefined : exported.indexes?.[groups.indexOf(group)];
    return index ?? exported.descriptors[i] ?? descriptor;
  });
}

/** What `rewrite-timestamp` does not change here. */
function timesNote(
  { rewriteTimestamp }: AnyOutput,
  sourceDateEpoch: number | undefined,
): string | undefined {
  if (rewriteTimestamp === undefined || rewriteTimestamp === (sourceDateEpoch !== undefined))
    return undefined;
  return rewriteTimestamp
    ? 'rewrite-timestamp has no effect: SOURCE_DATE_EPOCH is not set'
    : 'rewrite-timestamp=false has no effect: layers have the times of SOURCE_DATE_EPOCH';
}

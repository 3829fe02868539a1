import type { KeyTable, KeyValues } from '../../diagnostics/structured-option';
import type { ImageStore } from '../../images/store/image-store';
import type { Annotation } from '../../oci/annotations';
import type { BuildScope, VertexId } from '../../progress/events';
import type { ImageTarget } from '../../registry/registry';
import type { CompressionSpec, Exported, ExportServices, Outgoing } from '../exporter';

/** How an image leaves, where it is not as the store has it. */
export interface ImageForm {
  readonly compression?: CompressionSpec | undefined;
  /** Media types of manifest, config and layers. */
  readonly mediaTypes?: 'oci' | 'docker' | undefined;
  /** Besides those of the build. */
  readonly annotations?: readonly Annotation[] | undefined;
  /** As it was asked for: layers have the times of SOURCE_DATE_EPOCH whatever it says. */
  readonly rewriteTimestamp?: boolean | undefined;
  /** Attestations are artifacts that name the image as their subject. */
  readonly attestationArtifact?: boolean | undefined;
}

/** An output as data. */
export interface AnyOutput extends ImageForm {
  readonly type: string;
  /** Full names that stand for those of the build. */
  readonly names?: readonly string[] | undefined;
}

/** What is known when an option is read. */
export interface ReadContext {
  /** Names of `--tag`. */
  readonly names: readonly string[];
  readonly annotations: readonly Annotation[];
}

/** What a build must know of an output before there is something to take there. */
export interface OutputTraits {
  /** What comes out: an image, its files alone, or nothing. */
  readonly result: 'image' | 'files' | 'nothing';
  /** The image stays in the store. */
  readonly inStore: boolean;
  /** It has its names there. */
  readonly isNamed: boolean;
  /** It is also found as NAME@DIGEST there. */
  readonly isCanonical: boolean;
  /** It is found as PREFIX@DIGEST there if it has no name. */
  readonly danglingPrefix?: string | undefined;
  /** It takes layers that the store lacks as the blobs that they are elsewhere, or none at all. */
  readonly takesBlobs: boolean;
  /** Images leave with an index where several belong together, and where there are attestations. */
  readonly indexes: boolean;
  /** How layers leave that are not compressed. */
  readonly layers: 'none' | 'gzip';
  /** As its vertex is called; absent where nothing leaves the store. */
  readonly title?: string | undefined;
  /** It writes to standard output. */
  readonly toStdout?: boolean | undefined;
}

/** What outputs work with. */
export interface OutputServices extends ExportServices {
  readonly images: ImageStore;
  readonly registry: ImageTarget;
}

/** One image of a build on its way out. */
export interface OutgoingResult extends Outgoing {
  /** Where its files go among those of others: a path without a slash at its ends, or empty. */
  readonly directory: string;
  /** `os/architecture[/variant]` */
  readonly platform: string;
}

/** Where an output is taken. */
export interface OutputSetting {
  readonly services: OutputServices;
  readonly vertex: VertexId;
  readonly scope: BuildScope;
  /** All annotations: the build's and the output's. */
  readonly annotations: readonly Annotation[];
  /** Times of files alone: an image's layers have them already. Seconds since the epoch. */
  readonly sourceDateEpoch?: number | undefined;
}

/**
 * One kind of `--output`: what its keys are, and where images go. A new one is a file here and a
 * line in kinds.ts.
 * @typeParam Spec the output as data, which is also what programs that embed mbuild write.
 */
export interface OutputKind<Spec extends AnyOutput, Keys extends KeyTable> {
  /** As in `type=`. */
  readonly type: Spec['type'];
  readonly keys: Keys;
  /** @throws MbuildError USAGE for keys that do not go together. */
  read(values: KeyValues<Keys>, context: ReadContext): Spec;
  traits(spec: Spec): OutputTraits;
  /**
   * Takes images there; `undefined` where their manifests stay what they were. Loads what it needs
   * when it is called.
   */
  export(
    spec: Spec,
    images: readonly OutgoingResult[],
    setting: OutputSetting,
  ): Promise<Exported | undefined>;
}

/** Gives the object its types. */
export function defineOutput<Spec extends AnyOutput, Keys extends KeyTable>(
  kind: OutputKind<Spec, Keys>,
): OutputKind<Spec, Keys> {
  return kind;
}

/** Traits of an output that leaves nothing in the store. */
export const ELSEWHERE = {
  inStore: false,
  isNamed: false,
  isCanonical: false,
  takesBlobs: false,
} as const satisfies Partial<OutputTraits>;

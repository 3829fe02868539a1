import type { DiffID, Digest } from './digest';
import type { Platform } from './platform';

/** How any blob is pointed at. OCI image-spec, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly platform?: Platform | undefined;
  readonly artifactType?: string | undefined;
  readonly urls?: readonly string[] | undefined;
}

/** A filesystem change as it is stored: what it unpacks to, and where its bytes are. */
export interface Layer {
  /** Hash of the uncompressed tar; goes into the image config. */
  readonly diffId: DiffID;
  /** The blob, compressed or not; goes into the manifest. */
  readonly blob: Descriptor;
}

/** OCI image-spec, manifest.md; Docker's schema 2 manifest has the same shape. */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly artifactType?: string | undefined;
  readonly subject?: Descriptor | undefined;
}

/** OCI image-spec, image-index.md; Docker's manifest list has the same shape. */
export interface Index {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** One line of `docker history`. OCI image-spec, config.md. */
export interface HistoryEntry {
  /** RFC 3339. */
  readonly created?: string | undefined;
  readonly created_by?: string | undefined;
  readonly author?: string | undefined;
  readonly comment?: string | undefined;
  /** True when the entry added no layer. */
  readonly empty_layer?: boolean | undefined;
}

/** Docker's health check; durations are nanoseconds. Docker image-spec v1.2. */
export interface HealthConfig {
  /** `['NONE']`, `['CMD', …args]` or `['CMD-SHELL', command]`. */
  readonly Test?: readonly string[] | undefined;
  readonly Interval?: number | undefined;
  readonly Timeout?: number | undefined;
  readonly StartPeriod?: number | undefined;
  readonly StartInterval?: number | undefined;
  readonly Retries?: number | undefined;
}

/**
 * What a container of the image runs with: the `config` member of an image config, OCI's fields and
 * Docker's.
 */
export interface ContainerConfig {
  readonly User?: string | undefined;
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>> | undefined;
  /** `NAME=value`, in order of first definition. */
  readonly Env?: readonly string[] | undefined;
  readonly Entrypoint?: readonly string[] | undefined;
  readonly Cmd?: readonly string[] | undefined;
  readonly Volumes?: Readonly<Record<string, Record<string, never>>> | undefined;
  readonly WorkingDir?: string | undefined;
  readonly Labels?: Readonly<Record<string, string>> | undefined;
  readonly StopSignal?: string | undefined;
  /** Docker extensions. */
  readonly Healthcheck?: HealthConfig | undefined;
  readonly OnBuild?: readonly string[] | undefined;
  readonly Shell?: readonly string[] | undefined;
  readonly ArgsEscaped?: boolean | undefined;
  readonly StopTimeout?: number | undefined;
}

/** The image config blob, whose digest is the image id. OCI image-spec, config.md. */
export interface ImageConfig extends Platform {
  /** RFC 3339. */
  readonly created?: string | undefined;
  readonly author?: string | undefined;
  readonly config?: ContainerConfig | undefined;
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly DiffID[] };
  readonly history?: readonly HistoryEntry[] | undefined;
  /** An inline cache: the records of the image's own steps (cache/remote/format.ts). */
  readonly 'mbuild.cache.v1'?: unknown;
}

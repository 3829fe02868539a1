import type { Image } from '../../images/store/image-store';
import type { LayerIndex } from '../../images/store/layer-index';
import type { ContainerConfig, HealthConfig } from '../../oci/image';
import { familiarName, parseReference } from '../../oci/reference';
import { NilMap, NilSlice, type Printable } from './go-value';
import { imageSize } from './images';
import { goDuration } from './time';

/**
 * An image in the shape of `docker inspect` (API 1.51, ImageInspect), as values for templates and
 * JSON: structs with every member that docker's has, so that `{{.Config.User}}` is empty and not an
 * error.
 */
export function inspectImage(image: Image, layers: LayerIndex): Readonly<Record<string, unknown>> {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: image.names.map(familiar),
    RepoDigests: image.repoDigests.map(familiar),
    Parent: '',
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: config.created ?? '',
    DockerVersion: '',
    Author: config.author ?? '',
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] === undefined ? {} : { OsVersion: config['os.version'] }),
    Size: imageSize(image, layers),
    GraphDriver: { Data: new Map(), Name: 'mbuild' },
    RootFS: { Type: config.rootfs.type, Layers: [...config.rootfs.diff_ids] },
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
    Descriptor: image.descriptor,
    Config: configView(config.config ?? {}),
  };
}

/**
 * Sorted by name, as docker prints it; what docker leaves out when empty is out of the JSON, but
 * there for templates.
 */
export function configView(config: ContainerConfig): Readonly<Record<string, unknown>> {
  const view: Record<string, unknown> = {
    ArgsEscaped: config.ArgsEscaped ?? false,
    Cmd: sliceOf(config.Cmd),
    Entrypoint: sliceOf(config.Entrypoint),
    Env: sliceOf(config.Env),
    ExposedPorts: mapOf(config.ExposedPorts),
    Healthcheck: config.Healthcheck === undefined ? undefined : healthView(config.Healthcheck),
    Labels: mapOf(config.Labels),
    OnBuild: sliceOf(config.OnBuild),
    Shell: sliceOf(config.Shell),
    StopSignal: config.StopSignal ?? '',
    StopTimeout: config.StopTimeout,
    User: config.User ?? '',
    Volumes: mapOf(config.Volumes),
    WorkingDir: config.WorkingDir ?? '',
  };
  const omitted = [
    'ArgsEscaped',
    'ExposedPorts',
    'Healthcheck',
    'Shell',
    'StopSignal',
    'StopTimeout',
    'Volumes',
  ].filter((name) => isEmpty(view[name]));
  return withJson(view, () =>
    Object.fromEntries(Object.entries(view).filter(([name]) => !omitted.includes(name))),
  );
}

function healthView(health: HealthConfig): Readonly<Record<string, unknown>> {
  const durations = ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const;
  const view: Record<string, unknown> = {
    ...Object.fromEntries(durations.map((name) => [name, new Duration(health[name] ?? 0)])),
    Retries: health.Retries ?? 0,
    Test: sliceOf(health.Test),
  };
  return withJson(view, () => ({ ...health }));
}

/** The values for templates, with a JSON form of their own. */
function withJson(view: Record<string, unknown>, toJSON: () => unknown): Record<string, unknown> {
  return Object.defineProperty(view, 'toJSON', { value: toJSON, enumerable: false });
}

class Duration implements Printable {
  constructor(readonly nanoseconds: number) {}

  goString(): string {
    return goDuration(this.nanoseconds);
  }

  toJSON(): number {
    return this.nanoseconds;
  }
}

function sliceOf(values: readonly string[] | undefined): readonly string[] {
  return values === undefined ? new NilSlice() : [...values];
}

function mapOf(
  values: Readonly<Record<string, unknown>> | undefined,
): ReadonlyMap<string, unknown> {
  return values === undefined ? new NilMap() : new Map(Object.entries(values));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false) return true;
  return value instanceof Map ? value.size === 0 : Array.isArray(value) && value.length === 0;
}

function familiar(name: string): string {
  const reference = parseReference(name);
  return reference === undefined ? name : familiarName(reference);
}

import { DEFAULT_PATH, envValue } from '../oci/env';
import type { ContainerConfig } from '../oci/image';
import type { StageState } from './state';

/**
 * The members that an image of BuildKit's has, in its order. Others of a base's config (Docker's
 * Hostname, Image, …) are not handed on.
 */
const MEMBERS: readonly (keyof ContainerConfig)[] = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'ArgsEscaped',
  'Healthcheck',
  'StopTimeout',
  'Shell',
  'OnBuild',
];

/** What FROM scratch begins with. */
export const SCRATCH_CONFIG: ContainerConfig = { WorkingDir: '/', Env: [`PATH=${DEFAULT_PATH}`] };

/**
 * What a stage on an image or a stage begins with: the config below, with a PATH in any case, and
 * its triggers, which are done with.
 */
export function inheritedConfig(below: ContainerConfig): {
  readonly config: ContainerConfig;
  readonly triggers: readonly string[];
} {
  const env = below.Env ?? [];
  const withPath = envValue(env, 'PATH') === undefined ? [...env, `PATH=${DEFAULT_PATH}`] : env;
  return { config: { ...below, Env: withPath, OnBuild: undefined }, triggers: below.OnBuild ?? [] };
}

/** A stage's config with all members that it has. */
export function configOf({ config, configEnv, labels, triggers }: StageState): ContainerConfig {
  const env = [...configEnv.inFirstOrder()].map(([name, value]) => `${name}=${value}`);
  return {
    ...config,
    Env: env.length === 0 ? config.Env : env,
    Labels: labels.length === 0 ? config.Labels : Object.fromEntries(labels.inFirstOrder()),
    OnBuild: triggers.length === 0 ? config.OnBuild : triggers.toArray(),
  };
}

/** The config as it is written: known members only, empty ones left out. */
export function writtenConfig(config: ContainerConfig): ContainerConfig {
  return Object.fromEntries(
    MEMBERS.flatMap((name) => (isEmpty(config[name]) ? [] : [[name, config[name]]])),
  );
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    value === false ||
    value === 0 ||
    (typeof value === 'object' && Object.keys(value).length === 0)
  );
}
